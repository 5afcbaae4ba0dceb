'use strict';
// Makes the packages that are published, in build/packages: onehead, which holds no native code, and one with an addon
// for each system.
//   npm run pack:binaries              of the addon that was built here, for machines like this one (a container's
// image, a test)
//   npm run release -- --dry-run       portable ones, where `sh scripts/portable/setup.sh` installed what they take
// What is in a folder build/packages/NAME is packed as a .tgz file beside it.
const { execFileSync } = require('node:child_process');
const { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const { read } = require('./portable/elf.cjs');
const systems = require('./portable/systems.cjs');
const { withAbsoluteLinks } = require('./readme.cjs');

const root = path.join(__dirname, '..');
let output = path.join(root, 'build', 'packages');
const manifest = () => JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));

/**
 * The main package's package.json: without what is for those who work on it, with the packages of addons in the same
 * version.
 */
function mainManifest({ devDependencies, scripts, ...kept }) {
  const { version } = kept;
  const named = (wanted) =>
    Object.fromEntries(
      Object.entries(systems)
        .filter(([, { byName = false }]) => byName === wanted)
        .map(([name]) => [`@onehead/${name}`, version]),
    );
  const byName = named(true);
  const optional = Object.fromEntries(Object.keys(byName).map((name) => [name, { optional: true }]));
  return {
    ...kept,
    optionalDependencies: named(false),
    peerDependencies: { ...kept.peerDependencies, ...byName },
    peerDependenciesMeta: { ...kept.peerDependenciesMeta, ...optional },
  };
}

/** The package.json of a package with an addon that needs this glibc or a newer one. */
function addonManifest(name, { version, license, repository, engines }, glibc) {
  const { os, cpu, text } = systems[name];
  return {
    name: `@onehead/${name}`,
    version,
    description: `onehead's native addon for ${text}, glibc ${glibc} or newer`,
    license,
    ...(repository ? { repository } : {}),
    engines,
    os: [os],
    cpu: [cpu],
    libc: ['glibc'],
    main: './onehead.node',
    files: ['onehead.node', 'licenses'],
    publishConfig: { access: 'public' },
    onehead: { glibc },
  };
}

function addonReadme(name, { text, byName }, libraries) {
  const how = byName
    ? `It has the CUDA kernels, and those for the CPU. npm cannot tell whether there is a GPU, so it is installed by name, beside onehead:\n\n    npm install onehead @onehead/${name}`
    : 'npm installs it with onehead where it fits.';
  return `# @onehead/${name}\n\nThe native addon of [onehead](https://www.npmjs.com/package/onehead) for ${text}. ${how}\n\n${libraries}\n`;
}

/** npm's package of a folder: its file, its package.json, sizes in bytes, and what is in it. */
function pack(folder) {
  const [{ filename, size, unpackedSize, files }] = JSON.parse(
    execFileSync('npm', ['pack', folder, '--ignore-scripts', '--json', '--pack-destination', output], {
      encoding: 'utf8',
      cwd: output,
    }),
  );
  const made = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
  return { file: path.join(output, filename), manifest: made, size, unpackedSize, files: files.map((one) => one.path) };
}

/** Declarations among `files` that no entry of the package leads to: two thirds of them, each a block on the disk. */
function unreached(files, { exports }) {
  const targets = (value) => (typeof value === 'string' ? [value] : Object.values(value).flatMap(targets));
  const isDeclaration = (name) => /\.d\.c?ts$/.test(name);
  const reached = new Set();
  const visit = (name) => {
    if (reached.has(name) || !files.includes(name)) return;
    reached.add(name);
    for (const [, target] of readFileSync(path.join(root, name), 'utf8').matchAll(/['"](\.{1,2}\/[^'"]+js)['"]/g))
      visit(path.join(path.dirname(name), target.replace(/(c?)js$/, 'd.$1ts')));
  };
  targets(exports).map(path.normalize).filter(isDeclaration).forEach(visit);
  return files.filter((name) => isDeclaration(name) && !reached.has(name));
}

/** Packs what npm would pack of the clone, as it is published. */
function packMain() {
  const [{ files }] = JSON.parse(
    execFileSync('npm', ['pack', '--dry-run', '--ignore-scripts', '--json'], { cwd: root, encoding: 'utf8' }),
  );
  const stage = path.join(output, 'onehead');
  rmSync(stage, { recursive: true, force: true });
  const names = files.map((one) => one.path);
  const left = unreached(names, manifest());
  for (const name of names.filter((one) => !left.includes(one))) {
    mkdirSync(path.dirname(path.join(stage, name)), { recursive: true });
    cpSync(path.join(root, name), path.join(stage, name));
  }
  writeFileSync(path.join(stage, 'package.json'), `${JSON.stringify(mainManifest(manifest()), null, 2)}\n`);
  const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
  writeFileSync(path.join(stage, 'README.md'), withAbsoluteLinks(readme, manifest()));
  return pack(stage);
}

/**
 * Packs an addon as @onehead/NAME. `licences` are those of what is in a portable one, names and files; without them it
 * is one of this machine's, which wants the system's libraries.
 */
function packAddon(name, file, { glibc, licences }) {
  const stage = path.join(output, name);
  rmSync(stage, { recursive: true, force: true });
  mkdirSync(path.join(stage, 'licenses'), { recursive: true });
  copyFileSync(file, path.join(stage, 'onehead.node'));
  copyFileSync(path.join(root, 'LICENSE'), path.join(stage, 'LICENSE'));
  for (const [target, from] of Object.entries(licences ?? {})) copyFileSync(from, path.join(stage, 'licenses', target));
  const libraries = licences
    ? 'oneDNN (Apache-2.0) and libc++ (Apache-2.0 with the LLVM exception) are part of it; `licenses` has the terms.'
    : `It was built for one machine and needs the libraries of its system: ${read(file).needed.join(', ')}.`;
  writeFileSync(path.join(stage, 'README.md'), addonReadme(name, systems[name], libraries));
  const made = addonManifest(name, manifest(), glibc);
  writeFileSync(path.join(stage, 'package.json'), `${JSON.stringify(made, null, 2)}\n`);
  return pack(stage);
}

/**
 * Packs the addon that was built in this clone, under the name of this machine's system; its glibc is this machine's.
 * Gives null where there is none.
 */
function packOwn() {
  const file = path.join(root, 'build', 'Release', 'onehead.node');
  if (!existsSync(file)) return null;
  return packAddon(`${process.platform}-${process.arch}`, file, {
    glibc: process.report.getReport().header.glibcVersionRuntime,
  });
}

/**
 * The package.json of those packages with addons that are not among `addons`, for a registry that has to know of all.
 */
const unbuilt = (addons) =>
  Object.keys(systems)
    .filter((name) => !addons.some((one) => one.manifest.name === `@onehead/${name}`))
    .map((name) => ({ manifest: addonManifest(name, manifest(), '2.28') }));

/** Empties the folder for the packages, which may be another one. */
function begin(folder = output) {
  output = folder;
  rmSync(output, { recursive: true, force: true });
  mkdirSync(output, { recursive: true });
}

const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
const described = ({ file, files, size, unpackedSize }) =>
  `${path.relative(root, file)}: ${files.length} files, ${mebibytes(size)}, ${mebibytes(unpackedSize)} unpacked`;

module.exports = { addonManifest, begin, described, mainManifest, packAddon, packMain, packOwn, unbuilt };
if (require.main === module) {
  begin();
  const own = packOwn();
  if (own === null) {
    console.error('There is no addon in build/Release: run `npm run build:native` first.');
    process.exit(1);
  }
  for (const one of [packMain(), own]) console.log(described(one));
}
