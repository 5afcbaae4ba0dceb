'use strict';
// Where NVIDIA's compiler is when `sh scripts/setup.sh cuda` installed it.
const { spawnSync } = require('node:child_process');
const { existsSync } = require('node:fs');
const os = require('node:os');
const path = require('node:path');

/** `environment` with the installed compiler in it, or as it was: where it names another, where one is found anyway, or where none is installed. */
function withCudaToolkit(environment) {
  const found =
    environment.CUDACXX ||
    ['nvcc', path.join(environment.CUDA_HOME || environment.CUDA_PATH || '/usr/local/cuda', 'bin', 'nvcc')].some(
      (compiler) => spawnSync(compiler, ['--version'], { stdio: 'ignore', env: environment }).status === 0,
    );
  if (found) return environment;
  const cache = environment.XDG_CACHE_HOME || path.join(os.homedir(), '.cache');
  const folder = environment.ONEHEAD_CUDA_TOOLKIT || path.join(cache, 'onehead', 'cuda-13.0');
  const toolkit = path.join(folder, 'toolkit');
  const compiler = path.join(toolkit, 'bin', 'nvcc');
  if (!existsSync(compiler)) return environment;
  return { ...environment, CUDA_HOME: toolkit, CUDACXX: compiler };
}

module.exports = { withCudaToolkit };
