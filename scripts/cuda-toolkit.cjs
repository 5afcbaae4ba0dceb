'use strict';
// Finds NVIDIA's compiler, also where `sh scripts/setup.sh cuda` installs it, and the architectures to compile for.
const { spawnSync } = require('node:child_process');
const { existsSync } = require('node:fs');
const os = require('node:os');
const path = require('node:path');

/** True if the environment names a compiler, or there is one on PATH or in the default folder. */
function hasCompiler(environment) {
  return Boolean(
    environment.CUDACXX ||
      ['nvcc', path.join(environment.CUDA_HOME || environment.CUDA_PATH || '/usr/local/cuda', 'bin', 'nvcc')].some(
        (compiler) => spawnSync(compiler, ['--version'], { stdio: 'ignore', env: environment }).status === 0,
      ),
  );
}

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

/**
 * The architectures to compile for on a machine with GPUs of these compute capabilities, such as '9.0'. All
 * architectures would take several minutes. Without a GPU it is '80': compute capability 8.0, and code that the driver
 * compiles for newer GPUs.
 */
function architecturesOf(capabilities) {
  const supported = capabilities.filter((capability) => Number(capability) >= 8);
  if (supported.length === 0) return '80';
  const fallback = (capability) => (Number(capability) >= 12 ? '120-virtual' : '80-virtual');
  const names = supported.map((capability) => architectureOf[capability] ?? fallback(capability));
  return [...new Set(names)].sort().join(';');
}

/** The architectures to compile for on this machine. */
function architecturesHere() {
  const { status, stdout } = spawnSync('nvidia-smi', ['--query-gpu=compute_cap', '--format=csv,noheader'], {
    encoding: 'utf8',
  });
  return architecturesOf(status === 0 ? stdout.trim().split(/\s+/) : []);
}

module.exports = { architecturesHere, architecturesOf, hasCompiler, withCudaToolkit };
