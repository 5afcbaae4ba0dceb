/**
 * Writes the pages that VitePress reads to site/content: those of docs/, and others that they link to. Links to other
 * files lead to the repository if package.json names one, otherwise to copies of the files.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
const content = join(root, 'site', 'content');
const { repository } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const base = repository && `${(repository.url ?? repository).replace(/^git\+|\.git$/g, '')}/blob/main/`;

/** The path of each page in the site, by its path in the repository. */
const pages = new Map([
  ['README.md', 'readme.md'],
  ['CONTRIBUTING.md', 'contributing.md'],
  ['SECURITY.md', 'security.md'],
  ['CHANGELOG.md', 'changelog.md'],
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md') && name !== 'index.md')
    .map((name) => [`docs/${name}`, name]),
  ...['micro', 'micro-mqa', 'silero-vad'].map((name) => [`models/${name}/README.md`, `models/${name}.md`]),
  ['tools/train-micro/README.md', 'models/training.md'],
  ['docs/index.md', 'contents.md'],
]);

/** Converts a link of the page `from` to one of the site. */
function link(from, target) {
  if (/^([a-z]+:|#|\/)/.test(target)) return target;
  const [path, anchor] = target.split('#');
  const file = posix.normalize(posix.join(posix.dirname(from), path)).replace(/\/$/, '');
  if (!existsSync(join(root, file))) throw new Error(`${from} links to ${target}, which does not exist.`);
  const page = pages.get(file);
  if (page) return `/${page.replace(/\.md$/, '')}${anchor ? `#${anchor}` : ''}`;
  if (/\.(svg|png)$/.test(file)) {
    copy(file);
    return `/files/${file}`;
  }
  if (base) return base + file;
  if (statSync(join(root, file)).isDirectory()) return writeListing(file);
  copy(file);
  return `/files/${file}`;
}

function copy(file) {
  const to = join(content, 'public', 'files', file);
  mkdirSync(dirname(to), { recursive: true });
  cpSync(join(root, file), to);
}

/** Writes a page with the programs of a folder. Returns its address. */
function writeListing(folder) {
  const sections = readdirSync(join(root, folder))
    .filter((name) => /\.(m?js|cjs|sh)$/.test(name))
    .map(
      (name) =>
        `## ${name}\n\n\`\`\`${name.endsWith('sh') ? 'sh' : 'js'}\n${readFileSync(join(root, folder, name), 'utf8')}\`\`\`\n`,
    );
  writeFileSync(join(content, `${folder}.md`), `# ${folder}\n\n${sections.join('\n')}`);
  return `/${folder}`;
}

/** Applies `change` to Markdown outside code, where brackets are not links. */
const outsideCode = (text, change) =>
  text
    .split(/(^```[\s\S]*?^```$|`[^`\n]+`)/m)
    .map((part, i) => (i % 2 ? part : change(part)))
    .join('');

rmSync(content, { recursive: true, force: true });
mkdirSync(content, { recursive: true });
for (const [from, to] of pages) {
  const text = outsideCode(readFileSync(join(root, from), 'utf8'), (part) =>
    part
      .replace(/\]\(([^)\s]+)\)/g, (_, target) => `](${link(from, target)})`)
      // Angle brackets are placeholders in these pages; VitePress would parse them as tags.
      .replace(/<(?=[a-zA-Z|])(?![^>]*:\/\/)/g, '&lt;')
      .replaceAll('{{', '{&#8203;{'),
  );
  mkdirSync(dirname(join(content, to)), { recursive: true });
  writeFileSync(join(content, to), text);
}
cpSync(join(root, 'site', 'index.md'), join(content, 'index.md'));
