'use strict';
// A registry of npm's on this machine alone: packages that were packed here, and what they depend on as this clone's
// node_modules has it.
const { execFileSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const { createServer } = require('node:http');
const { existsSync, readFileSync } = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');

/** An installed package as npm packs it: all of it in a folder `package`. */
function archiveOf(folder) {
  const from = path.relative(root, folder);
  const args = [
    '-C',
    root,
    '--exclude',
    `${from}/node_modules`,
    '--transform',
    `s,^${from},package,`,
    '-czf',
    '-',
    from,
  ];
  return execFileSync('tar', args, { maxBuffer: 1 << 28 });
}

/** What a registry tells of a package with one version. */
function packument(manifest, archive, address) {
  const { name, version } = manifest;
  const integrity = archive && `sha512-${createHash('sha512').update(archive).digest('base64')}`;
  const dist = { tarball: `${address}/-/${encodeURIComponent(name)}.tgz`, integrity };
  return { name, 'dist-tags': { latest: version }, versions: { [version]: { ...manifest, dist } } };
}

/**
 * Starts one with the packages of `packed`, each a package.json with the .tgz file that npm made of it, or without
 * where nobody will ask for it. Gives its address, and what ends it.
 */
async function startRegistry(packed) {
  const known = new Map(
    packed.map(({ manifest, file }) => [manifest.name, { manifest, archive: file && readFileSync(file) }]),
  );
  const find = (name) => {
    const folder = path.join(root, 'node_modules', name);
    if (!known.has(name) && existsSync(path.join(folder, 'package.json'))) {
      const manifest = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
      const { scripts: _, ...kept } = manifest;
      known.set(name, { manifest: kept, archive: archiveOf(folder) });
    }
    return known.get(name);
  };
  let address = '';
  const server = createServer((request, response) => {
    const [, archived] = /^\/-\/([^/]+)\.tgz$/.exec(request.url) ?? [];
    const one = find(decodeURIComponent(archived ?? request.url.slice(1)));
    if (!one || (archived && !one.archive)) {
      response.writeHead(404).end('{}');
    } else if (archived) {
      response.end(one.archive);
    } else {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(packument(one.manifest, one.archive, address)));
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  address = `http://127.0.0.1:${server.address().port}`;
  return { address, close: () => server.close() };
}

module.exports = { startRegistry };
