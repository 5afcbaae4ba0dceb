'use strict';
// Where NVIDIA's compiler is when `sh scripts/setup.sh cuda` installed it, and which GPUs it compiles for.
const { spawnSync } = require('node:child_process');
const { existsSync } = require('node:fs');
const os = require('node:os');
const path = require('node:path');

/** True where the environment names a compiler, or one is found without. */
function hasCompiler(environment) {
  return Boolean(
    environment.CUDACXX ||
      ['nvcc', path.join(environment.CUDA_HOME || environment.CUDA_PATH || '/usr/local/cuda', 'bin', 'nvcc')].some(
        (compiler) => spawnSync(compiler, ['--version'], { stdio: 'ignore', env: environment }).status === 0,
      ),
  );
}

/**
 * `environment` with the installed compiler in it, or as it was: where there is another, or where none is installed.
 */
function withCudaToolkit(environment) {
  if (hasCompiler(environment)) return environment;
  const cache = environment.XDG_CACHE_HOME || path.join(os.homedir(), '.cache');
  const folder = environment.ONEHEAD_CUDA_TOOLKIT || path.join(cache, 'onehead', 'cuda-13.0');
  const toolkit = path.join(folder, 'toolkit');
  const compiler = path.join(toolkit, 'bin', 'nvcc');
  if (!existsSync(compiler)) return environment;
  return { ...environment, CUDA_HOME: toolkit, CUDACXX: compiler };
}

/**
 * Architectures of their own kernels; what else there is runs the code of the newest before it, which the driver
 * compiles.
 */
const known = {
  '8.0': '80-real',
  8.6: '86-real',
  8.9: '89-real',
  '9.0': '90a-real',
  '10.0': '100-real',
  '12.0': '120-real',
};

/**
 * What to compile for on a machine whose GPUs have these compute capabilities ('9.0'): for these alone, since all take
 * several minutes. Without a GPU: for 8.0, and code that the driver of any newer GPU compiles.
 */
function architecturesOf(capabilities) {
  const usable = capabilities.filter((one) => Number(one) >= 8);
  if (usable.length === 0) return '80';
  const names = usable.map((one) => known[one] ?? (Number(one) >= 12 ? '120-virtual' : '80-virtual'));
  return [...new Set(names)].sort().join(';');
}

/** Of the GPUs that are there. */
function architecturesHere() {
  const { status, stdout } = spawnSync('nvidia-smi', ['--query-gpu=compute_cap', '--format=csv,noheader'], {
    encoding: 'utf8',
  });
  return architecturesOf(status === 0 ? stdout.trim().split(/\s+/) : []);
}

module.exports = { architecturesHere, architecturesOf, hasCompiler, withCudaToolkit };
