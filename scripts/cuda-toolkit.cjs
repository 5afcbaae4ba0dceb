'use strict';
// Finds NVIDIA's compiler, also where `sh scripts/setup.sh cuda` installs it, and the architectures to compile for.
const { spawnSync } = require('node:child_process');
const { existsSync } = require('node:fs');
const os = require('node:os');
const path = require('node:path');

/** The first version of nvcc with C++20, which the kernels need. */
const oldestVersion = 12;

/** The version of a compiler such as 12.4, or 0 if it does not run. */
function versionOf(compiler, environment) {
  const { stdout } = spawnSync(compiler, ['--version'], { encoding: 'utf8', env: environment });
  return Number(/release (\d+\.\d+)/.exec(stdout ?? '')?.[1] ?? 0);
}

/** The version of the compiler that the environment names, or else of the one on PATH or in the default folder. */
function compilerVersion(environment) {
  if (environment.CUDACXX) return versionOf(environment.CUDACXX, environment);
  const folder = environment.CUDA_HOME || environment.CUDA_PATH || '/usr/local/cuda';
  return versionOf('nvcc', environment) || versionOf(path.join(folder, 'bin', 'nvcc'), environment);
}

/** True if the environment names a compiler, or a usable one is on PATH or in the default folder. */
const hasCompiler = (environment) => Boolean(environment.CUDACXX) || compilerVersion(environment) >= oldestVersion;

/** Adds the compiler that scripts/setup.sh installed to the environment, unless there is another one or none. */
function withCudaToolkit(environment) {
  if (hasCompiler(environment)) return environment;
  const cache = environment.XDG_CACHE_HOME || path.join(os.homedir(), '.cache');
  const folder = environment.ONEHEAD_CUDA_TOOLKIT || path.join(cache, 'onehead', 'cuda-13.0');
  const toolkit = path.join(folder, 'toolkit');
  const compiler = path.join(toolkit, 'bin', 'nvcc');
  if (!existsSync(compiler)) return environment;
  return { ...environment, CUDA_HOME: toolkit, CUDACXX: compiler };
}

/** Compute capabilities with kernels of their own. For others, the driver compiles the code of the next older one. */
const architectureOf = {
  '8.0': '80-real',
  8.6: '86-real',
  8.9: '89-real',
  '9.0': '90a-real',
  '10.0': '100-real',
  '12.0': '120-real',
};

/** The first version of nvcc that compiles for compute capability 10.0 and 12.0. */
const firstBlackwellVersion = 12.8;

/**
 * The architectures to compile for on a machine with GPUs of these compute capabilities, such as '9.0', and this
 * version of nvcc. All architectures would take several minutes. Without a GPU it is '80': compute capability 8.0, and
 * code that the driver compiles for newer GPUs.
 */
function architecturesOf(capabilities, version = firstBlackwellVersion) {
  const supported = capabilities.filter((capability) => Number(capability) >= 8);
  if (supported.length === 0) return '80';
  const nameOf = (capability) => {
    if (Number(capability) >= 10 && version < firstBlackwellVersion) return '80-virtual';
    return architectureOf[capability] ?? (Number(capability) >= 12 ? '120-virtual' : '80-virtual');
  };
  return [...new Set(supported.map(nameOf))].sort().join(';');
}

/** The architectures to compile for on this machine, with the compiler of the environment. */
function architecturesHere(environment) {
  const { status, stdout } = spawnSync('nvidia-smi', ['--query-gpu=compute_cap', '--format=csv,noheader'], {
    encoding: 'utf8',
  });
  return architecturesOf(status === 0 ? stdout.trim().split(/\s+/) : [], compilerVersion(environment));
}

module.exports = { architecturesHere, architecturesOf, hasCompiler, withCudaToolkit };
