'use strict';
// Installs the packages in an empty project, as users do, with neither compilers on PATH nor network, and transcribes a
// recording.
const { execFileSync, spawn } = require('node:child_process');
const { lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { startRegistry } = require('./registry.cjs');

/** Runs a program. Resolves to its output and exit status. */
function run(command, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000, ...options });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'])
      child[name].setEncoding('utf8').on('data', (text) => (output[name] += text));
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, ...output }));
  });
}

/**
 * Creates an empty project. Its registry has `packed` (as for startRegistry) and the dependencies of this clone. Its
 * PATH has Node.js, npm, sh and `programs`, which are given by their paths.
 */
async function openProject(packed, programs = []) {
  const registry = await startRegistry(packed);
  const home = mkdtempSync(path.join(os.tmpdir(), 'onehead-project-'));
  const [bin, folder] = ['bin', 'app'].map((name) => path.join(home, name));
  for (const created of [bin, folder]) mkdirSync(created);
  for (const program of [process.execPath, '/bin/sh', ...programs])
    symlinkSync(program, path.join(bin, program === process.execPath ? 'node' : path.basename(program)));
  const npm = path.join(execFileSync('npm', ['root', '--global'], { encoding: 'utf8' }).trim(), 'npm', 'bin');
  for (const name of ['npm', 'npx']) symlinkSync(path.join(npm, `${name}-cli.js`), path.join(bin, name));
  writeFileSync(path.join(folder, 'package.json'), '{ "name": "app", "private": true }\n');
  const environment = {
    PATH: bin,
    HOME: home,
    npm_config_registry: registry.address,
    npm_config_update_notifier: 'false',
  };
  return {
    folder,
    bin,
    /** Runs a program of PATH in the project; `env` adds to its environment. */
    run: (command, args, env = {}) =>
      run(path.join(bin, command), args, { cwd: folder, env: { ...environment, ...env } }),
    close: () => {
      registry.close();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

/** The bytes on disk, and the number of packages, of a folder node_modules. */
function sizeOf(modules) {
  let [bytes, packages] = [0, 0];
  for (const name of readdirSync(modules, { recursive: true })) {
    const status = lstatSync(path.join(modules, name));
    bytes += status.blocks * 512;
    if (/(^|\/node_modules\/)(@[^/]+\/)?[^@./][^/]*\/package\.json$/.test(name)) packages += 1;
  }
  return { bytes, packages };
}

/** Installs onehead and transcribes the bundled sample. Returns a summary. Throws if anything fails. */
async function tryPackages(packed) {
  const project = await openProject(packed);
  try {
    const installed = await project.run('npm', ['install', 'onehead', '--ignore-scripts=false']);
    if (installed.status !== 0)
      throw new Error(`npm could not install the packages: ${installed.stdout}${installed.stderr}`);
    const modules = path.join(project.folder, 'node_modules');
    const sample = path.join(modules, 'onehead', 'models', 'micro', 'sample.flac');
    const { status, stdout, stderr } = await project.run('npx', ['onehead', 'transcribe', sample]);
    if (status !== 0 || stdout.trim() === '')
      throw new Error(`The sample could not be transcribed: ${stdout}${stderr}`);
    const { bytes, packages } = sizeOf(modules);
    return `Installed in an empty project without compilers: ${packages} packages, ${(bytes / 2 ** 20).toFixed(1)} MiB. Text of the sample: ${stdout.trim().replace(/\s+/g, ' ')}`;
  } finally {
    project.close();
  }
}

module.exports = { openProject, sizeOf, tryPackages };
