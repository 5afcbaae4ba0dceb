/** `npm run options`: writes what is made of the options' declarations, lib/options/documentation.ts and docs/options.md. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readComments } from './comments.js';

const path = (file: string) => fileURLToPath(new URL(`../../${file}`, import.meta.url));

const module = path('lib/options/documentation.ts');
writeFileSync(
  module,
  `/** The comments before options, by group: written by \`npm run options\`, and not to be edited. */
export const documentation = ${JSON.stringify(readComments(), null, 2)};
`,
);
execFileSync(path('node_modules/.bin/biome'), ['format', '--write', module], { stdio: 'ignore' });

// Only now, since the page is made of what was just written.
const { optionsPage } = await import('./page.js');
writeFileSync(path('docs/options.md'), optionsPage());
