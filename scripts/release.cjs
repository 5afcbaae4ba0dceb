'use strict';
// Packs a release and looks at it: npm run release -- --dry-run     versions, changelog, package; nothing is changed
// npm run release                  wants a clean tree, a dated changelog and passing checks as well, and makes the tag
// The package lies in build/release; it is published by hand, `npm publish FILE`. Links of its README are absolute, for
// npm's page.
const { execFileSync, spawnSync } = require('node:child_process');
const { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const root = path.join(__dirname, '..');
const output = path.join(root, 'build', 'release');

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

/**
 * Where links of the package's pages lead: the repository that package.json names, else the package's own files as
 * unpkg.com shows them.
 */
function baseOf({ name, version, repository }) {
  if (!repository) return `https://unpkg.com/${name}@${version}/`;
  const url = (repository.url ?? repository).replace(/^git\+|\.git$/g, '').replace(/^github:/, 'https://github.com/');
  return `${url}/blob/v${version}/`;
}

/** Markdown with absolute links. Pictures come from the package, since a repository's pages are no pictures. */
function withAbsoluteLinks(markdown, manifest) {
  const packed = baseOf({ ...manifest, repository: undefined });
  return markdown.replace(/(!?\[[^\]]*\])\((?![a-z]+:|#)([^)\s]+)\)/g, (_, text, target) => {
    const file = target.replace(/^\.\//, '');
    return `${text}(${text.startsWith('!') ? packed : baseOf(manifest)}${file})`;
  });
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

/** Copies what npm would pack, with the README for npm's page, and packs that. */
function pack(manifest) {
  run('npm', 'run', '-s', 'build:types');
  const [{ files }] = JSON.parse(run('npm', 'pack', '--dry-run', '--ignore-scripts', '--json'));
  const names = files.map((file) => file.path);
  const stage = path.join(output, 'package');
  rmSync(output, { recursive: true, force: true });
  for (const name of names) {
    mkdirSync(path.dirname(path.join(stage, name)), { recursive: true });
    cpSync(path.join(root, name), path.join(stage, name));
  }
  writeFileSync(path.join(stage, 'README.md'), withAbsoluteLinks(read('README.md'), manifest));
  const [{ filename, size, unpackedSize }] = JSON.parse(
    execFileSync('npm', ['pack', stage, '--ignore-scripts', '--json', '--pack-destination', output], {
      encoding: 'utf8',
      cwd: output,
    }),
  );
  return { names, file: path.join(output, filename), size, unpackedSize };
}

function main() {
  const { values } = parseArgs({ options: { 'dry-run': { type: 'boolean', default: false } } });
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

  const { names, file, size, unpackedSize } = pack(manifest);
  const wrong = packageFaults(names, manifest, read('README.md'));
  for (const fault of wrong) console.error(`The package is wrong: ${fault}`);
  if (wrong.length > 0) process.exit(1);
  const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  console.log(
    `${path.relative(root, file)}: ${names.length} files, ${mebibytes(size)}, ${mebibytes(unpackedSize)} unpacked`,
  );
  if (!existsSync(path.join(root, 'prebuilds')))
    console.log('It holds no binaries: `npm run pack:binaries` packs them, before this.');
  if (dry) return;
  run('git', 'tag', '--annotate', `v${manifest.version}`, '--message', `Version ${manifest.version}`);
  console.log(
    `Tagged v${manifest.version}. Publish it: npm publish ${path.relative(root, file)} && git push --follow-tags`,
  );
}

module.exports = { newestEntry, packageFaults, versionFaults, withAbsoluteLinks };
if (require.main === module) main();
