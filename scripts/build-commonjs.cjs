'use strict';
// Converts dist to CommonJS in dist/commonjs, file by file, so that the package's entries share their classes.
// npm run build:types
const { build } = require('esbuild');
const { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } = require('node:fs');
const path = require('node:path');

const from = path.join(__dirname, '..', 'dist');
const to = path.join(from, 'commonjs');

/** All files except the command and the entry of worker threads, which are always started as ES modules. */
const isLibrary = (file) => /\.(js|d\.ts)$/.test(file) && !/^(cli|commonjs)\b|^worker\./.test(file);

/** Imports of files refer to the converted ones. Packages stay external. */
const resolution = {
  name: 'resolution',
  setup({ onResolve }) {
    onResolve({ filter: /.*/ }, ({ path: name, kind }) =>
      kind === 'entry-point'
        ? undefined
        : { path: name.startsWith('.') ? name.replace(/\.js$/, '.cjs') : name, external: true },
    );
  },
};

/**
 * Some decoders are only available as ES modules. Jest does not support `import` without a flag
 * (--experimental-vm-modules); there, they are imported by the process's own loader.
 */
const loader = `'use strict';
const vm = require('node:vm');
const { pathToFileURL } = require('node:url');

exports.moduleUrl = (file) => pathToFileURL(file).href;
exports.importedBy = (name) => (error) => {
  if (!/^ERR_VM_DYNAMIC_IMPORT_CALLBACK_MISSING/.test(error.code)) throw error;
  const importModuleDynamically = vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER;
  return vm.runInThisContext('(name) => import(name)', { filename: __filename, importModuleDynamically })(name);
};
`;

async function main() {
  rmSync(to, { recursive: true, force: true });
  const files = readdirSync(from, { recursive: true }).filter(isLibrary);
  const { outputFiles } = await build({
    entryPoints: files.filter((file) => file.endsWith('.js')).map((file) => path.join(from, file)),
    ...{ outbase: from, outdir: to, outExtension: { '.js': '.cjs' }, write: false, logLevel: 'warning' },
    ...{ platform: 'node', format: 'cjs', target: 'node20', bundle: true, charset: 'ascii' },
    define: { 'import.meta.url': 'importMetaUrl' },
    plugins: [resolution],
  });
  for (const { path: file, text } of outputFiles) {
    mkdirSync(path.dirname(file), { recursive: true });
    const name = JSON.stringify(`./${path.relative(path.dirname(file), path.join(to, 'loader.cjs'))}`);
    let code = text
      .replace(/\bimport\(("\.[^"]+")\)/g, 'Promise.resolve().then(() => require($1))')
      .replace(/\bimport\((\s*\/\*.*?\*\/\s*)?("[^".][^"]*")\s*\)/g, 'import($1$2).catch(importedBy($2))');
    if (code.includes('.catch(importedBy(')) code = `const { importedBy } = require(${name});\n${code}`;
    if (code.includes('importMetaUrl')) code = `const importMetaUrl = require(${name}).moduleUrl(__filename);\n${code}`;
    writeFileSync(file, code);
  }
  writeFileSync(path.join(to, 'loader.cjs'), loader);
  for (const file of files.filter((name) => name.endsWith('.d.ts'))) {
    const target = path.join(to, file.replace(/\.d\.ts$/, '.d.cts'));
    mkdirSync(path.dirname(target), { recursive: true });
    const text = readFileSync(path.join(from, file), 'utf8');
    writeFileSync(target, text.replace(/(['"])(\.{1,2}\/[^'"]+)\.js\1/g, '$1$2.cjs$1'));
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
