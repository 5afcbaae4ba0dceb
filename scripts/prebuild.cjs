'use strict';
// Packs the addon as published packages carry it: prebuilds/linux-x64/ with oneDNN and its companions beside the addon.
// npm run pack:binaries        (releases set ONEHEAD_CUDA=on, so that a machine without nvcc cannot pack a CPU-only
// addon unseen)
const { execFileSync, spawnSync } = require('node:child_process');
const { copyFileSync, readdirSync, realpathSync, rmSync, writeFileSync } = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');
const folder = path.join(root, 'prebuilds', `${process.platform}-${process.arch}`);
rmSync(path.join(root, 'prebuilds'), { recursive: true, force: true });

process.env.ONEHEAD_CUDA_ARCHITECTURES ??= 'all'; // whoever installs it has some GPU or other
const shim = path.join(__dirname, 'gyp-shim.cjs');
const built = spawnSync(
  path.join(root, 'node_modules', '.bin', 'prebuildify'),
  ['--napi', '--strip', '--tag-libc', '--node-gyp', shim],
  { cwd: root, stdio: 'inherit' },
);
if (built.status !== 0) process.exit(built.status ?? 1);

// Every library that a plain Node.js machine may not have.
const common = /^(linux-vdso|ld-linux.*|libc|libm|libdl|libpthread|librt|libstdc\+\+|libgcc_s)\.so/;
const licences = {
  libdnnl: 'oneDNN, Apache-2.0',
  libgomp: 'GCC OpenMP runtime, GPL-3.0 with the GCC Runtime Library Exception',
  libOpenCL: 'OpenCL ICD loader, BSD-2-Clause or Apache-2.0 by its maker; wanted by oneDNN, not used',
};
const addon = path.join(
  folder,
  readdirSync(folder).find((name) => name.endsWith('.node')),
);
const notes = [];
for (const line of execFileSync('ldd', [addon], { encoding: 'utf8' }).split('\n')) {
  const [, name, file] = /^\s*(\S+) => (\/\S+)/.exec(line) ?? [];
  if (!name || common.test(name)) continue;
  copyFileSync(realpathSync(file), path.join(folder, name));
  notes.push(`${name}: ${licences[name.replace(/\.so.*/, '')] ?? 'see its package'}`);
}
writeFileSync(
  path.join(folder, 'LIBRARIES.txt'),
  `Libraries beside the addon, as Debian packages them:\n\n${notes.join('\n')}\n`,
);

// The libraries find one another beside themselves too.
for (const name of readdirSync(folder)) {
  if (!/\.so/.test(name)) continue;
  const patched = spawnSync('patchelf', ['--set-rpath', '$ORIGIN', path.join(folder, name)], { stdio: 'inherit' });
  if (patched.error) {
    console.error('patchelf was not found; install it: apt-get install patchelf');
    process.exit(1);
  }
}

const check = `
  process.env.PREBUILDS_ONLY = '1';
  const addon = require('node-gyp-build')(${JSON.stringify(root)});
  const maps = require('node:fs').readFileSync('/proc/self/maps', 'utf8');
  const loaded = [...new Set(maps.match(/\\S+libdnnl\\S+/g))];
  if (!loaded.every((file) => file.startsWith(${JSON.stringify(folder)}))) throw new Error('oneDNN came from ' + loaded);
  console.log('packed addon loads with its own oneDNN', addon.information().onednn.version);
`;
process.exit(spawnSync(process.execPath, ['-e', check], { cwd: root, stdio: 'inherit' }).status ?? 1);
