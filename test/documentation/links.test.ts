/** The links of all pages refer to existing files and headings. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { root } from '../cli/command.js';

const pages = [
  ...['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md'],
  ...readdirSync(join(root, 'docs')).flatMap((name) => (name.endsWith('.md') ? [`docs/${name}`] : [])),
];

const withoutCode = (text: string) => text.replace(/^```[\s\S]*?^```$|`[^`\n]+`/gm, '');

/** The anchors of headings, as on GitHub. */
const anchors = (text: string): string[] =>
  [...text.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );

it.each(pages)('%s', (page) => {
  const text = readFileSync(join(root, page), 'utf8');
  const broken = [...withoutCode(text).matchAll(/\]\((?![a-z]+:)([^)\s]*)\)/g)].flatMap(([, target]) => {
    const [path, anchor] = target.split('#');
    const file = path === '' ? join(root, page) : join(root, dirname(page), path);
    if (!existsSync(file)) return [target];
    return anchor === undefined || anchors(readFileSync(file, 'utf8')).includes(anchor) ? [] : [target];
  });
  expect(broken).toEqual([]);
});

it('docs/index.md names every page of docs/', () => {
  const index = readFileSync(join(root, 'docs/index.md'), 'utf8');
  for (const page of pages)
    if (page !== 'docs/index.md' && page !== 'SECURITY.md') expect(index).toContain(page.replace('docs/', '('));
});
