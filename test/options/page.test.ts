/** The files that are generated from the declarations of options are up to date. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { documentation } from '../../lib/options/documentation.js';
import { optionGroups } from '../../lib/options/options.js';
import { readComments } from '../../tools/options/comments.js';
import { optionsPage } from '../../tools/options/page.js';
import { root } from '../cli/command.js';
import '../../lib/index.js';

const hint = 'run `npm run options`';

it('lib/options/documentation.ts', () => {
  expect(documentation, hint).toEqual(readComments());
});

it('docs/options.md', async () => {
  expect(await readFile(join(root, 'docs/options.md'), 'utf8'), hint).toBe(optionsPage());
});

it('the defaults in comments', () => {
  const comments: Record<string, Record<string, { defaultText: string }>> = documentation;
  for (const group of optionGroups) {
    for (const [name, { defaultText }] of Object.entries(comments[group.name])) {
      const { default: value } = group.entries[name].facts as { default?: unknown };
      if (value === undefined) continue;
      const [one] = [value].flat();
      expect(defaultText, `${group.name}: ${name}`).toBe(typeof one === 'string' ? `'${one}'` : String(one));
    }
  }
});
