/** Pages and comments have the same line width as the code. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { root } from '../cli/command.js';

const width = 120;

const pages = [
  ...['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'tools/reference/README.md', 'tools/train-micro/README.md'],
  ...['micro', 'micro-mqa', 'silero-vad', 'vocabularies'].map((name) => `models/${name}/README.md`),
  'test/fixtures/audio/README.md',
  // docs/options.md is a generated table.
  ...readdirSync(join(root, 'docs')).flatMap((name) => (/^(?!options).*\.md$/.test(name) ? [`docs/${name}`] : [])),
];

/** The files of a folder with one of these extensions. */
const sources = (folder: string, ending: RegExp): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => ending.test(name))
    .map((name) => `${folder}/${name}`);

/** Lines of prose that are too wide, as `counts` decides. Code between fences is not checked here. */
const wide = (path: string, counts: (line: string) => boolean): string[] =>
  readFileSync(join(root, path), 'utf8')
    .replace(/^```[\s\S]*?^```$/gm, (code) => '\n'.repeat(code.split('\n').length - 1))
    .split('\n')
    .flatMap((line, i) => ([...line].length > width && counts(line) ? [`${path}:${i + 1}`] : []));

// A table's row is one line in Markdown, and a link or a command cannot be broken.
const isProse = (line: string) => !/^\s*(\||\S+$|!\[|#)/.test(line) && !/^ {4}\S/.test(line);

it('pages', () => {
  expect(pages.flatMap((page) => wide(page, isProse))).toEqual([]);
});

it.each([
  ['lib', /\.ts$/],
  ['native', /\.(cc|h|cu|cuh|inc)$/],
  ['bench', /\.(ts|mjs|py)$/],
  ['scripts', /\.(cjs|sh)$/],
  ['tools', /\.(ts|py)$/],
])('comments in %s', (folder, ending) => {
  const isComment = (line: string) => /^\s*(\/\*|\*|\/\/|#)/.test(line);
  expect(sources(folder, ending).flatMap((path) => wide(path, isComment))).toEqual([]);
});

it('documentation of Python programs', () => {
  const files = ['bench', 'tools'].flatMap((folder) => sources(folder, /\.py$/));
  const wideLines = files.flatMap((path) =>
    Array.from(readFileSync(join(root, path), 'utf8').matchAll(/^ *"""[\s\S]*?"""$/gm), ([text]) => text)
      .flatMap((text) => text.split('\n'))
      .filter((line) => [...line].length > width)
      .map((line) => `${path}: ${line}`),
  );
  expect(wideLines).toEqual([]);
});
