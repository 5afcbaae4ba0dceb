'use strict';
// Bundles the used parts of large packages into dist/bundled, and changes the imports in dist accordingly. 0.4 of 17 MB
// are used.
//   npm run build:types
const { buildSync } = require('esbuild');
const { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');
const dist = path.join(root, 'dist');
const to = path.join(dist, 'bundled');

/** The bundled imports of dist, and the exports that are used. */
const bundles = {
  '@huggingface/hub':
    "export { downloadFile, fileDownloadInfo, getHFHubCachePath, HubApiError, modelInfo } from '@huggingface/hub';",
  '@huggingface/tokenizers': "export { Tokenizer } from '@huggingface/tokenizers';",
  valibot: "export * from 'valibot';",
  'pako/lib/zlib/deflate.js': "export { default } from 'pako/lib/zlib/deflate.js';",
  'pako/lib/zlib/zstream.js': "export { default } from 'pako/lib/zlib/zstream.js';",
};

/** Type declarations of bundled packages that the package's declarations refer to. */
const declarations = {
  valibot: `export interface GenericSchema<Input = unknown, Output = Input> {
    readonly '~types'?: { readonly input: Input; readonly output: Output } | undefined;
}
export type InferInput<Schema extends GenericSchema<any, any>> = NonNullable<Schema['~types']>['input'];
export type InferOutput<Schema extends GenericSchema<any, any>> = NonNullable<Schema['~types']>['output'];
`,
};

const fileName = (name) => `${name.replace(/^@/, '').replace(/\.js$/, '').replaceAll('/', '-')}.js`;

/** Writes a bundle. Returns the folders of the packages whose code it contains. */
function bundle(name, contents) {
  const { metafile } = buildSync({
    stdin: { contents, resolveDir: root },
    outfile: path.join(to, fileName(name)),
    ...{ bundle: true, format: 'esm', platform: 'node', target: 'node20', charset: 'utf8' },
    // Minifying reduces valibot to a third. Its stack traces are not needed, since its errors are converted.
    minify: name === 'valibot',
    ...{ metafile: true, legalComments: 'inline', logLevel: 'warning', absWorkingDir: root },
  });
  const [{ inputs }] = Object.values(metafile.outputs);
  const used = Object.entries(inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0);
  return used.map(([file]) => /.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0]).filter(Boolean);
}

/** The licences of the bundled packages, which must be distributed with their code. */
function licences(folders) {
  const texts = folders.map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(path.join(root, folder, 'package.json'), 'utf8'));
    const file = readdirSync(path.join(root, folder)).find((name) => /^licen[cs]e/i.test(name));
    const text = file ? readFileSync(path.join(root, folder, file), 'utf8').trim() : `Licence: ${license}`;
    return `${name} ${version} (${license})\n\n${text}\n`;
  });
  return `Parts of these packages are in this folder.\n\n${texts.join('\n----\n\n')}`;
}

rmSync(to, { recursive: true, force: true });
mkdirSync(to);
const folders = Object.entries(bundles).flatMap(([name, contents]) => bundle(name, contents));
writeFileSync(path.join(to, 'LICENSES.txt'), licences([...new Set(folders)].sort()));

for (const [name, text] of Object.entries(declarations))
  writeFileSync(path.join(to, fileName(name).replace(/\.js$/, '.d.ts')), text);

for (const file of readdirSync(dist, { recursive: true })) {
  if (!/\.(js|d\.ts)$/.test(file) || /^(bundled|commonjs)\b/.test(file)) continue;
  const text = readFileSync(path.join(dist, file), 'utf8');
  const relative = path.relative(path.dirname(file), 'bundled') || '.';
  const names = Object.keys(file.endsWith('.js') ? bundles : declarations);
  const changed = names.reduce((code, name) => code.replaceAll(`'${name}'`, `'${relative}/${fileName(name)}'`), text);
  if (changed !== text) writeFileSync(path.join(dist, file), changed);
}
