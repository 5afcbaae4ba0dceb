'use strict';
// An npm registry on loopback, with packages that were packed here, and their dependencies from this clone's
// node_modules.
const { execFileSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const { createServer } = require('node:http');
const { existsSync, readFileSync } = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');

/** Archives an installed package in npm's format: its files are in a folder `package`. */
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

/** A registry's metadata of a package with a single version. */
function packument(manifest, archive, address) {
  const { name, version } = manifest;
  const integrity = archive && `sha512-${createHash('sha512').update(archive).digest('base64')}`;
  const dist = { tarball: `${address}/-/${encodeURIComponent(name)}.tgz`, integrity };
  return { name, 'dist-tags': { latest: version }, versions: { [version]: { ...manifest, dist } } };
}

/**
 * Starts a registry. Each of `packed` is a package.json with the package's .tgz file, or without if it is never
 * installed. Returns the registry's address, and a function that closes it.
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
    const found = find(decodeURIComponent(archived ?? request.url.slice(1)));
    if (!found || (archived && !found.archive)) {
      response.writeHead(404).end('{}');
    } else if (archived) {
      response.end(found.archive);
    } else {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(packument(found.manifest, found.archive, address)));
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  address = `http://127.0.0.1:${server.address().port}`;
  return { address, close: () => server.close() };
}

module.exports = { startRegistry };
