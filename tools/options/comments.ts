/** Reads the comments of options from their declarations: `options('group', { /** ... *\/ name: option(...) })`. */
import { readdirSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('../../', import.meta.url));

export interface Comment {
  /** The comment's sentences, in one line. */
  about: string;
  /** The text after @default; '' if there is none. */
  defaultText: string;
}

/** By group, then by option. */
export type Comments = Record<string, Record<string, Comment>>;

const oneLine = (text: string | undefined) => (text ?? '').replace(/\s+/g, ' ').trim();

function commentOf(property: ts.ObjectLiteralElementLike, where: string): Comment {
  const [comment] = ts.getJSDocCommentsAndTags(property).filter(ts.isJSDoc);
  const about = oneLine(ts.getTextOfJSDocComment(comment?.comment));
  if (about === '') throw new Error(`${where} has no comment; say what it does.`);
  const tag = comment.tags?.find(({ tagName }) => tagName.text === 'default');
  return { about, defaultText: oneLine(ts.getTextOfJSDocComment(tag?.comment)) };
}

function commentsOfFile(file: string): Comments {
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);
  const found: Comments = {};
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && ts.isIdentifier(node.expression) && node.expression.text === 'options') {
      const [name, entries] = node.arguments;
      if (name && entries && ts.isStringLiteral(name) && ts.isObjectLiteralExpression(entries)) {
        const declarations = entries.properties.filter((property) => ts.isPropertyAssignment(property));
        found[name.text] = Object.fromEntries(
          declarations.map((property) => {
            const option = property.name.getText(source);
            return [option, commentOf(property, `${relative(root, file)}: ${option}`)];
          }),
        );
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** The comments of all options. Throws an Error if an option has none. */
export function readComments(): Comments {
  const all = readdirSync(`${root}lib`, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  return Object.assign({}, ...all.sort().map((file) => commentsOfFile(`${root}lib/${file}`)));
}
