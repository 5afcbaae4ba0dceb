'use strict';
// Packs a release and checks it:
//   npm run release -- --dry-run     checks versions, changelog and packages; changes nothing
//   npm run release                  also requires a clean tree, a dated changelog and passing checks; creates the tag
//   --systems linux-x64,linux-arm64  the addons to build (default: all that can be built here)
// The packages in build/packages are published by hand, those with addons before onehead. Building addons requires
// `sh scripts/portable/setup.sh`; without it, a dry run packs the addon of this clone.
const { execFileSync, spawnSync } = require('node:child_process');
const { readFileSync } = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { prepareOutput, describePackage, packAddon, packMain, packCloneAddon, unbuilt } = require('./packages.cjs');
const portable = require('./portable/build.cjs');
const systems = require('./portable/systems.cjs');
const { withAbsoluteLinks } = require('./readme.cjs');
const { tryPackages } = require('./try-packages.cjs');

const root = path.join(__dirname, '..');

/** The newest entry of a changelog: '## 1.2.0, 2026-03-01' or '## 1.2.0, not yet released'. */
function newestEntry(changelog) {
  const [, version, date] = /^## (\d+\.\d+\.\d+\S*)(?:, (.+))?$/m.exec(changelog) ?? [];
  return { version, date: /^\d{4}-\d{2}-\d{2}$/.test(date ?? '') ? date : null };
}

/** Messages on versions that do not match. */
function versionFaults({ manifest, lock, changelog }) {
  const { version, date } = newestEntry(changelog);
  return [
    ...(lock.version === manifest.version
      ? []
      : [
          `package-lock.json has version ${lock.version}, package.json ${manifest.version}; run npm install --package-lock-only.`,
        ]),
    ...(version === manifest.version
      ? []
      : [`The newest entry of CHANGELOG.md is ${version ?? 'none'}, package.json has version ${manifest.version}.`]),
    ...(date
      ? []
      : [`The entry ${version ?? ''} of CHANGELOG.md has no date; write "## ${manifest.version}, YYYY-MM-DD".`]),
  ];
}

/** Messages on files that package.json or the README refers to but that are not packed, and on source maps. */
function packageFaults(files, { exports, bin, main, types }, readme) {
  const targets = (value) => (typeof value === 'string' ? [value] : Object.values(value).flatMap(targets));
  const referenced = [...targets(exports), ...targets(bin), main, types].map((file) => file.replace(/^\.\//, ''));
  const links = [...readme.matchAll(/\]\((?![a-z]+:|#)([^)\s#]+)/g)].map(([, target]) => target.replace(/\/$/, ''));
  return [
    ...referenced
      .filter((file) => !files.includes(file))
      .map((file) => `package.json points to ${file}, which is not packed.`),
    ...links
      .filter((link) => !files.some((file) => file === link || file.startsWith(`${link}/`)))
      .map((link) => `README.md links to ${link}, which is not packed.`),
    ...files
      .filter((file) => file.endsWith('.map'))
      .map((file) => `${file} is packed, a source map without its source.`),
  ];
}

const run = (command, ...args) => execFileSync(command, args, { cwd: root, encoding: 'utf8' });
const read = (name) => readFileSync(path.join(root, name), 'utf8');

/** Messages on native code in the main package; it belongs in separate packages. */
const nativeFaults = (files) =>
  files
    .filter((file) => /\.(node|so|cc|cu|cuh|h|gyp)$|^(native|scripts|prebuilds)\/|CMakeLists/.test(file))
    .map((file) => `${file} is packed, which belongs to the addon.`);

/** Messages on packages of addons whose versions differ from the main package's. */
function addonVersionFaults(main, addons) {
  const required = { ...main.optionalDependencies, ...main.peerDependencies };
  return addons.flatMap(({ name, version }) =>
    version === main.version && required[name] === version
      ? []
      : [`${name} has version ${version}, but ${main.name} ${main.version} requires ${required[name] ?? 'none'}.`],
  );
}

/** Builds and packs the addons. Returns the packages. */
function packAddons(names, dry) {
  if (!portable.isInstalled()) {
    if (!dry) throw new Error('A release needs portable addons; run `sh scripts/portable/setup.sh` first.');
    console.log(
      'Portable addons cannot be built before `sh scripts/portable/setup.sh` has been run; the addon of this clone is packed instead.',
    );
    const addon = packCloneAddon();
    if (addon === null) console.log('There is none (npm run build:native), so only onehead is packed.');
    return addon ? [addon] : [];
  }
  const buildable = portable.buildable();
  for (const name of names.filter((system) => !buildable.includes(system))) {
    const reason = `@onehead/${name} cannot be built here, since it needs NVIDIA's compiler (sh scripts/setup.sh cuda)`;
    if (!dry) throw new Error(`${reason}.`);
    console.log(`${reason}; it is left out.`);
  }
  return names
    .filter((name) => buildable.includes(name))
    .map((name) => packAddon(name, portable.build(name), { glibc: portable.glibc, licences: portable.licences(name) }));
}

async function main() {
  const { values } = parseArgs({
    options: {
      'dry-run': { type: 'boolean', default: false },
      systems: { type: 'string', default: Object.keys(systems).join() },
    },
  });
  const dry = values['dry-run'];
  const manifest = JSON.parse(read('package.json'));
  const faults = versionFaults({
    manifest,
    lock: JSON.parse(read('package-lock.json')),
    changelog: read('CHANGELOG.md'),
  });
  if (run('git', 'status', '--porcelain').trim()) faults.push('The working tree has changes; commit them.');
  if (run('git', 'tag', '--list', `v${manifest.version}`).trim())
    faults.push(`The tag v${manifest.version} exists already; increase the version.`);
  for (const fault of faults) console.error(`${dry ? 'Before a release' : 'Not released'}: ${fault}`);
  if (faults.length > 0 && !dry) process.exit(1);
  if (!dry && spawnSync('npm', ['run', 'verify'], { cwd: root, stdio: 'inherit' }).status !== 0) process.exit(1);

  prepareOutput();
  run('npm', 'run', '-s', 'build:types');
  const main = packMain();
  const addons = packAddons(values.systems.split(','), dry);
  const packingFaults = [
    ...packageFaults(main.files, main.manifest, read('README.md')),
    ...nativeFaults(main.files),
    ...addonVersionFaults(
      main.manifest,
      addons.map((addon) => addon.manifest),
    ),
  ];
  for (const fault of packingFaults) console.error(`The packages are wrong: ${fault}`);
  if (packingFaults.length > 0) process.exit(1);
  for (const packed of [main, ...addons]) console.log(describePackage(packed));
  const isForThisMachine = (addon) => addon.manifest.name === `@onehead/${process.platform}-${process.arch}`;
  if (addons.some(isForThisMachine)) console.log(await tryPackages([main, ...addons, ...unbuilt(addons)]));
  if (dry) return;
  run('git', 'tag', '--annotate', `v${manifest.version}`, '--message', `Version ${manifest.version}`);
  const files = [...addons, main].map(({ file }) => path.relative(root, file));
  console.log(
    `Tagged v${manifest.version}. Publish: ${files.map((file) => `npm publish ${file}`).join(' && ')} && git push --follow-tags`,
  );
}

module.exports = { nativeFaults, newestEntry, packageFaults, versionFaults, addonVersionFaults, withAbsoluteLinks };
if (require.main === module)
  main().catch((error) => {
    console.error(error.message);
    process.exit(1);
  });
