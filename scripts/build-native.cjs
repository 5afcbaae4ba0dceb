'use strict';
// Builds the addon for this machine: `npm run build:native`, and `npm ci` in a clone. The addons of packages are built
// by scripts/portable.
//   node scripts/build-native.cjs [--config Release|Debug] [--cuda auto|on|off] [--emulated] [--quiet]
const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { architecturesHere, hasCompiler, withCudaToolkit } = require('./cuda-toolkit.cjs');

const { values } = parseArgs({
  options: {
    config: { type: 'string', default: 'Release' },
    cuda: { type: 'string', default: process.env.ONEHEAD_CUDA ?? 'auto' },
    // The addon whose CUDA backend runs on the CPU, for tests: build/emulated/Release/onehead.node
    emulated: { type: 'boolean', default: false },
    // Prints only errors.
    quiet: { type: 'boolean', default: false },
  },
});
if (!['auto', 'on', 'off'].includes(values.cuda.toLowerCase())) {
  console.error(`Expected ONEHEAD_CUDA or --cuda to be auto, on or off but received '${values.cuda}'.`);
  process.exit(2);
}

const root = path.join(__dirname, '..');
// With `binary.napi_versions` in package.json, cmake-js uses the headers of node-api-headers. Otherwise it would
// download those of Node.js from nodejs.org, which many networks do not reach.
const cmakeJs = require.resolve('cmake-js/bin/cmake-js');
const environment =
  values.emulated || values.cuda.toLowerCase() === 'off' ? { ...process.env } : { ...withCudaToolkit(process.env) };
// node-gyp's make exports these variables, which Ninja must not inherit.
for (const name of ['MAKEFLAGS', 'MFLAGS', 'MAKELEVEL', 'MAKE_TERMERR', 'MAKE_TERMOUT']) delete environment[name];

// Releases compile for all architectures (ONEHEAD_CUDA_ARCHITECTURES=all), which takes several minutes. A build for
// this machine only needs those of its GPUs.
if (!values.emulated && values.cuda.toLowerCase() !== 'off' && !environment.ONEHEAD_CUDA_ARCHITECTURES) {
  environment.ONEHEAD_CUDA_ARCHITECTURES = architecturesHere(environment);
  if (!values.quiet && hasCompiler(environment)) {
    console.log(
      `CUDA kernels are compiled for ${environment.ONEHEAD_CUDA_ARCHITECTURES}; set ONEHEAD_CUDA_ARCHITECTURES for others, or to all.`,
    );
  }
}

function available(program) {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0;
}

const folder = path.join(root, 'build', values.emulated ? 'cmake-emulated' : 'cmake');
const common = ['-l', 'warn', '-d', root, '-O', folder, '-B', values.config];
common.push(`--CDONEHEAD_CUDA=${values.cuda.toUpperCase()}`);
if (values.emulated)
  common.push('--CDONEHEAD_EMULATION=ON', `--CDONEHEAD_OUTPUT=${path.join(root, 'build', 'emulated')}`);
if (available('ccache')) {
  common.push('--CDCMAKE_CXX_COMPILER_LAUNCHER=ccache', '--CDCMAKE_CUDA_COMPILER_LAUNCHER=ccache');
}

function cmake(command) {
  const result = spawnSync(process.execPath, [cmakeJs, command, ...common], {
    cwd: root,
    stdio: values.quiet ? 'pipe' : 'inherit',
    env: environment,
  });
  if (result.error) throw result.error;
  if (result.status !== 0 && values.quiet) console.error(`${result.stdout}${result.stderr}`);
  if (result.status !== 0) {
    console.error(
      '\nThe native addon could not be built; the reason is above. On Debian and Ubuntu, `sh scripts/setup.sh` installs the required packages.',
    );
    process.exit(result.status ?? 1);
  }
}

if (!available('cmake')) {
  console.error(
    'Building onehead needs CMake and a C++ compiler: install them, on Debian and Ubuntu with `sh scripts/setup.sh`.',
  );
  process.exit(1);
}
cmake('configure'); // `build` configures only once, and then ignores changed options
cmake('build');
