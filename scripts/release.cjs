'use strict';
// Packs a release and looks at it:
//   npm run release -- --dry-run     versions, changelog, packages; nothing is changed
//   npm run release                  wants a clean tree, a dated changelog and passing checks, and makes the tag
// The packages lie in build/packages; they are published by hand, those with addons before onehead. Links of the README
// are absolute, for npm's page. Addons are built where `sh scripts/portable/setup.sh` installed what that takes; a dry
// run without it packs the addon of this clone, to look at.
//   --systems linux-x64,linux-arm64  which addons, where it should not be all that can be built here
const { execFileSync, spawnSync } = require('node:child_process');
const { readFileSync } = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { begin, described, packAddon, packMain, packOwn, unbuilt } = require('./packages.cjs');
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

/** What is wrong with the versions: sentences. */
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

/** What of the package's own claims is not in it: sentences. */
function packageFaults(files, { exports, bin, main, types }, readme) {
  const targets = (value) => (typeof value === 'string' ? [value] : Object.values(value).flatMap(targets));
  const wanted = [...targets(exports), ...targets(bin), main, types].map((file) => file.replace(/^\.\//, ''));
  const links = [...readme.matchAll(/\]\((?![a-z]+:|#)([^)\s#]+)/g)].map(([, target]) => target.replace(/\/$/, ''));
  return [
    ...wanted
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

/** Native code is in packages of its own: what of it is in the main one. */
const nativeFaults = (files) =>
  files
    .filter((file) => /\.(node|so|cc|cu|cuh|h|gyp)$|^(native|scripts|prebuilds)\/|CMakeLists/.test(file))
    .map((file) => `${file} is packed, which belongs to the addon.`);

/** What is wrong between packages, each given by its package.json: sentences. */
function versionsFaults(main, addons) {
  const wanted = { ...main.optionalDependencies, ...main.peerDependencies };
  return addons.flatMap(({ name, version }) =>
    version === main.version && wanted[name] === version
      ? []
      : [`${name} has version ${version}, and ${main.name} ${main.version} wants ${wanted[name] ?? 'none'}.`],
  );
}

/** Builds and packs the addons, and gives what was packed. */
function packAddons(names, dry) {
  if (!portable.isInstalled()) {
    if (!dry) throw new Error('A release takes portable addons; run `sh scripts/portable/setup.sh` first.');
    console.log(
      'The addons of a release are not built, since what they take is not installed (sh scripts/portable/setup.sh); the one of this clone is packed.',
    );
    const own = packOwn();
    if (own === null) console.log('There is none (npm run build:native), so onehead alone is packed.');
    return own ? [own] : [];
  }
  const buildable = portable.buildable();
  for (const name of names.filter((one) => !buildable.includes(one))) {
    const sentence = `@onehead/${name} cannot be built here: it takes NVIDIA's compiler (sh scripts/setup.sh cuda)`;
    if (!dry) throw new Error(`${sentence}.`);
    console.log(`${sentence}, and is left out.`);
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
    faults.push(`There is a tag v${manifest.version} already; raise the version.`);
  for (const fault of faults) console.error(`${dry ? 'Before a release' : 'Not released'}: ${fault}`);
  if (faults.length > 0 && !dry) process.exit(1);
  if (!dry && spawnSync('npm', ['run', 'verify'], { cwd: root, stdio: 'inherit' }).status !== 0) process.exit(1);

  begin();
  run('npm', 'run', '-s', 'build:types');
  const main = packMain();
  const addons = packAddons(values.systems.split(','), dry);
  const wrong = [
    ...packageFaults(main.files, main.manifest, read('README.md')),
    ...nativeFaults(main.files),
    ...versionsFaults(
      main.manifest,
      addons.map((one) => one.manifest),
    ),
  ];
  for (const fault of wrong) console.error(`The packages are wrong: ${fault}`);
  if (wrong.length > 0) process.exit(1);
  for (const one of [main, ...addons]) console.log(described(one));
  const here = addons.find((one) => one.manifest.name === `@onehead/${process.platform}-${process.arch}`);
  if (here) console.log(await tryPackages([main, ...addons, ...unbuilt(addons)]));
  if (dry) return;
  run('git', 'tag', '--annotate', `v${manifest.version}`, '--message', `Version ${manifest.version}`);
  const files = [...addons, main].map(({ file }) => path.relative(root, file));
  console.log(
    `Tagged v${manifest.version}. Publish: ${files.map((file) => `npm publish ${file}`).join(' && ')} && git push --follow-tags`,
  );
}

module.exports = { nativeFaults, newestEntry, packageFaults, versionFaults, versionsFaults, withAbsoluteLinks };
if (require.main === module)
  main().catch((error) => {
    console.error(error.message);
    process.exit(1);
  });
