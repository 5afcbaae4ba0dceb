'use strict';
// Packs the published packages in build/packages: onehead, which contains no native code, and a package with an addon
// for each system. Each folder build/packages/NAME is packed as a .tgz file next to it.
//   npm run pack:binaries              with the addon of this clone, for machines like this one (containers, tests)
//   npm run release -- --dry-run       with portable addons, if `sh scripts/portable/setup.sh` was run
const { execFileSync } = require('node:child_process');
const {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} = require('node:fs');
const path = require('node:path');
const { read } = require('./portable/elf.cjs');
const systems = require('./portable/systems.cjs');
const { withAbsoluteLinks } = require('./readme.cjs');

const root = path.join(__dirname, '..');
let output = path.join(root, 'build', 'packages');
const manifest = () => JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));

/** The main package's package.json: without development settings, with the packages of addons in the same version. */
function mainManifest({ devDependencies, scripts, binary, ...kept }) {
  const { version } = kept;
  const addonPackages = (installedByName) =>
    Object.fromEntries(
      Object.entries(systems)
        .filter(([, { byName = false }]) => byName === installedByName)
        .map(([name]) => [`@onehead/${name}`, version]),
    );
  const byName = addonPackages(true);
  const optional = Object.fromEntries(Object.keys(byName).map((name) => [name, { optional: true }]));
  return {
    ...kept,
    optionalDependencies: addonPackages(false),
    peerDependencies: { ...kept.peerDependencies, ...byName },
    peerDependenciesMeta: { ...kept.peerDependenciesMeta, ...optional },
  };
}

/** The package.json of a package with an addon. `glibc` is the oldest version that it supports. */
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
    ? `It contains the kernels for CUDA and for the CPU. npm cannot detect a GPU, so it is installed by name, with onehead:\n\n    npm install onehead @onehead/${name}`
    : 'npm installs it with onehead on these systems.';
  return `# @onehead/${name}\n\nThe native addon of [onehead](https://www.npmjs.com/package/onehead) for ${text}. ${how}\n\n${libraries}\n`;
}

/** Packs a folder with npm. Returns the package's file, its package.json, sizes in bytes, and its files. */
function pack(folder) {
  const [{ filename, size, unpackedSize, files }] = JSON.parse(
    execFileSync('npm', ['pack', folder, '--ignore-scripts', '--json', '--pack-destination', output], {
      encoding: 'utf8',
      cwd: output,
    }),
  );
  const packed = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
  const names = files.map((file) => file.path);
  return { file: path.join(output, filename), manifest: packed, size, unpackedSize, files: names };
}

/** The declarations among `files` that no entry of the package refers to: two thirds of all. */
function unreachedDeclarations(files, { exports }) {
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

/**
 * Writes the main package to a folder: the files that npm selects, without unused declarations, with the published
 * package.json and README. Returns their names.
 */
function stageMain(stage) {
  rmSync(stage, { recursive: true, force: true });
  // npm selects them in a copy, whose package.json has no scripts: with --ignore-scripts, npm 10 still runs `prepare`.
  const selected = manifest().files.filter((pattern) => !pattern.startsWith('!'));
  for (const name of new Set(['README.md', 'LICENSE', ...selected.map((pattern) => pattern.split('/')[0])]))
    cpSync(path.join(root, name), path.join(stage, name), { recursive: true });
  writeFileSync(path.join(stage, 'package.json'), `${JSON.stringify(mainManifest(manifest()), null, 2)}\n`);
  const [{ files }] = JSON.parse(
    execFileSync('npm', ['pack', '--dry-run', '--ignore-scripts', '--json'], { cwd: stage, encoding: 'utf8' }),
  );
  const names = files.map((file) => file.path);
  const unreached = unreachedDeclarations(names, manifest());
  const kept = names.filter((name) => !unreached.includes(name));
  for (const entry of readdirSync(stage, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name);
    if (!entry.isDirectory() && !kept.includes(path.relative(stage, file))) rmSync(file);
  }
  const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
  writeFileSync(path.join(stage, 'README.md'), withAbsoluteLinks(readme, manifest()));
  return kept;
}

/** Packs the main package. */
function packMain() {
  const stage = path.join(output, 'onehead');
  stageMain(stage);
  return pack(stage);
}

/**
 * Packs an addon as @onehead/NAME. `licences` are names and files of the licences of the libraries in a portable addon;
 * without them, the addon needs the system's libraries.
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
  const packed = addonManifest(name, manifest(), glibc);
  writeFileSync(path.join(stage, 'package.json'), `${JSON.stringify(packed, null, 2)}\n`);
  return pack(stage);
}

/** Packs the addon that was built in this clone, for this machine's system and glibc; null if there is none. */
function packCloneAddon() {
  const file = path.join(root, 'build', 'Release', 'onehead.node');
  if (!existsSync(file)) return null;
  return packAddon(`${process.platform}-${process.arch}`, file, {
    glibc: process.report.getReport().header.glibcVersionRuntime,
  });
}

/** Entries for packages of addons that are not among `addons`, since a registry needs the package.json of all. */
const unbuilt = (addons) =>
  Object.keys(systems)
    .filter((name) => !addons.some(({ manifest }) => manifest.name === `@onehead/${name}`))
    .map((name) => ({ manifest: addonManifest(name, manifest(), '2.28') }));

/** Sets and empties the folder for packages. */
function prepareOutput(folder = output) {
  output = folder;
  rmSync(output, { recursive: true, force: true });
  mkdirSync(output, { recursive: true });
}

const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
const describePackage = ({ file, files, size, unpackedSize }) =>
  `${path.relative(root, file)}: ${files.length} files, ${mebibytes(size)}, ${mebibytes(unpackedSize)} unpacked`;

module.exports = {
  addonManifest,
  prepareOutput,
  describePackage,
  mainManifest,
  packAddon,
  packMain,
  packCloneAddon,
  stageMain,
  unbuilt,
};
if (require.main === module) {
  prepareOutput();
  const addon = packCloneAddon();
  if (addon === null) {
    console.error('There is no addon in build/Release: run `npm run build:native` first.');
    process.exit(1);
  }
  for (const packed of [packMain(), addon]) console.log(describePackage(packed));
}
