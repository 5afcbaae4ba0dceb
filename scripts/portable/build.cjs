'use strict';
// Builds the addons of packages: for glibc 2.28 and newer, with oneDNN and libc++ linked statically, and cross-compiled
// for any of the systems in systems.cjs.
//   node scripts/portable/build.cjs [linux-x64] [linux-arm64] [linux-x64-cuda]    (default: this machine's)
// The addon is build/portable/<name>/Release/onehead.node. `sh scripts/portable/setup.sh` installs the tools. oneDNN is
// compiled once for each system and kept beside its source.
const { execFileSync, spawnSync } = require('node:child_process');
const {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { hasCompiler, withCudaToolkit } = require('../cuda-toolkit.cjs');
const { byVersion, read } = require('./elf.cjs');
const systems = require('./systems.cjs');

/** The oldest supported glibc: that of Debian 10 and RHEL 8, which Node.js 20 requires itself. */
const glibc = '2.28';
const root = path.join(__dirname, '..', '..');
const cache = process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache');
const tools = process.env.ONEHEAD_PORTABLE || path.join(cache, 'onehead', 'portable');
const zig = path.join(tools, 'zig', 'zig');
const onednn = () => (existsSync(tools) ? readdirSync(tools).find((name) => /^oneDNN-[\d.]+$/.test(name)) : undefined);

/** Whether the compiler and oneDNN's source are installed. */
const isInstalled = () => existsSync(zig) && onednn() !== undefined;

const outputOf = (name) => path.join(root, 'build', 'portable', name, 'Release', 'onehead.node');

function run(command, args, environment = process.env) {
  // The compilers are scripts that are written each time, so ccache must compare their contents.
  const env = { CCACHE_COMPILERCHECK: 'content', ...environment };
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args[0]} failed; see its output above`);
}

/** Options that make CMake use ccache, if it is installed. */
const launchers = () =>
  spawnSync('ccache', ['--version']).status === 0
    ? ['CXX', 'CUDA'].map((language) => `-DCMAKE_${language}_COMPILER_LAUNCHER=ccache`)
    : [];

/** Compilers as CMake requires them: programs without arguments. */
function compilers(name) {
  const folder = path.join(root, 'build', 'portable', name, 'compilers');
  mkdirSync(folder, { recursive: true });
  // Without -fno-sanitize, zig adds checks for undefined behaviour to unoptimized code.
  const target = `-target ${systems[name].triple}.${glibc} -fno-sanitize=undefined`;
  const programs = { clang: `cc ${target}`, 'clang++': `c++ ${target}`, ar: 'ar', ranlib: 'ranlib' };
  const version = execFileSync(zig, ['version'], { encoding: 'utf8' }).trim();
  for (const [program, command] of Object.entries(programs)) {
    const file = path.join(folder, program);
    // oneDNN is compiled for size, since it generates the code that computes; except for these loops.
    const level = `case "$*" in */src/cpu/gemm/*|*/src/cpu/reorder/*) set -- "$@" -O3 ;; esac`;
    writeFileSync(file, `#!/bin/sh\n# zig ${version}\n${level}\nexec '${zig}' ${command} "$@"\n`);
    chmodSync(file, 0o755);
  }
  const { cpu, triple } = systems[name];
  return [
    ...['-G', 'Ninja', '-DCMAKE_BUILD_TYPE=Release'],
    ...(cpu === process.arch ? [] : ['-DCMAKE_SYSTEM_NAME=Linux', `-DCMAKE_SYSTEM_PROCESSOR=${triple.split('-')[0]}`]),
    `-DCMAKE_C_COMPILER=${path.join(folder, 'clang')}`,
    `-DCMAKE_CXX_COMPILER=${path.join(folder, 'clang++')}`,
    `-DCMAKE_AR=${path.join(folder, 'ar')}`,
    `-DCMAKE_RANLIB=${path.join(folder, 'ranlib')}`,
  ];
}

/**
 * Builds oneDNN with the primitives that the addon uses (trim-onednn.sh), as a static library with hidden symbols.
 * Returns the folder in which it is installed.
 */
function buildOneDnn(name) {
  const { triple } = systems[name];
  const prefix = path.join(tools, `${onednn()}-${triple}-${glibc}`);
  if (existsSync(prefix)) return prefix;
  const build = path.join(tools, `build-${triple}`);
  const openmp = `-fopenmp -I${__dirname}`;
  run('cmake', [
    ...['-S', path.join(tools, onednn()), '-B', build, ...compilers(name)],
    ...['-DONEDNN_LIBRARY_TYPE=STATIC', '-DONEDNN_CPU_RUNTIME=OMP', '-DONEDNN_GPU_RUNTIME=NONE'],
    ...['-DONEDNN_BUILD_TESTS=OFF', '-DONEDNN_BUILD_EXAMPLES=OFF', '-DONEDNN_BUILD_GRAPH=OFF'],
    ...['-DONEDNN_ENABLE_WORKLOAD=INFERENCE', '-DONEDNN_ENABLE_PRIMITIVE=MATMUL;REORDER'],
    ...['-DONEDNN_ARCH_OPT_FLAGS=', '-DONEDNN_ENABLE_JIT_PROFILING=OFF', '-DONEDNN_ENABLE_ITT_TASKS=OFF'],
    '-DONEDNN_ENABLE_GEMM_KERNELS_ISA=NONE',
    ...['-DONEDNN_VERBOSE=OFF', '-DCMAKE_C_FLAGS_RELEASE=-Os -DNDEBUG', '-DCMAKE_CXX_FLAGS_RELEASE=-Os -DNDEBUG'],
    ...launchers(),
    // The OpenMP functions that clang generates calls to are in the addon (openmp_clang.cc).
    ...[
      `-DOpenMP_C_FLAGS=${openmp}`,
      `-DOpenMP_CXX_FLAGS=${openmp}`,
      '-DOpenMP_C_LIB_NAMES=',
      '-DOpenMP_CXX_LIB_NAMES=',
    ],
    ...[
      '-DCMAKE_C_FLAGS=-g0 -ffunction-sections -fdata-sections',
      `-DCMAKE_CXX_FLAGS=-g0 -fvisibility=hidden -ffunction-sections -fdata-sections -I${__dirname}`,
    ],
    `-DCMAKE_INSTALL_PREFIX=${prefix}.partial`,
  ]);
  run('cmake', ['--build', build]);
  run('cmake', ['--install', build]);
  renameSync(`${prefix}.partial`, prefix);
  rmSync(build, { recursive: true });
  return prefix;
}

/** Why an addon would not load on another system, as sentences; empty if it would. */
function faults(file, cpu) {
  const { needed, undefined: undefinedSymbols, cpu: builtFor, glibc: requiredGlibc } = read(file);
  const systemLibraries = /^(libc|libm|libdl|libpthread|librt|ld-linux[-\w]*)\.so\.\d+$/;
  // No C++ library is installed with it, so C++ symbols must be defined in the addon.
  const missing = undefinedSymbols.filter((name) =>
    /^(_Z|__cpu_|dnnl_|__kmpc|GOMP|omp_|__cxa_(?!atexit|finalize|thread_atexit))/.test(name),
  );
  return [
    ...(builtFor === cpu ? [] : [`It is for ${builtFor}, not for ${cpu}.`]),
    ...(byVersion(requiredGlibc, glibc) <= 0 ? [] : [`It needs glibc ${requiredGlibc}, newer than ${glibc}.`]),
    ...needed.filter((name) => !systemLibraries.test(name)).map((name) => `It needs ${name}.`),
    ...missing.map((name) => `It does not define ${name}.`),
  ];
}

/** Builds one addon and returns its file. Throws if it cannot be built, or would not load on other systems. */
function build(name) {
  const { cuda, cpu } = systems[name];
  const prefix = buildOneDnn(name);
  const library = ['lib', 'lib64'].map((folder) => path.join(prefix, folder, 'libdnnl.a')).find(existsSync);
  const folder = path.join(root, 'build', 'portable', name);
  const environment = cuda ? withCudaToolkit(process.env) : { ...process.env };
  environment.ONEHEAD_CUDA_ARCHITECTURES ??= 'all';
  run(
    'cmake',
    [
      ...['-S', root, '-B', path.join(folder, 'cmake'), ...compilers(name)],
      ...[`-DONEHEAD_CUDA=${cuda ? 'ON' : 'OFF'}`, `-DONEHEAD_OUTPUT=${folder}`],
      `-DCMAKE_CXX_FLAGS=-g0 -I${__dirname}`,
      ...[`-DONEHEAD_ONEDNN_INCLUDE=${path.join(prefix, 'include')}`, `-DONEHEAD_ONEDNN_LIBRARY=${library}`],
      ...launchers(),
    ],
    environment,
  );
  run('cmake', ['--build', path.join(folder, 'cmake'), '--target', 'onehead'], environment);
  const wrong = faults(outputOf(name), cpu);
  if (wrong.length > 0) throw new Error(`${outputOf(name)} would not load on other systems: ${wrong.join(' ')}`);
  return outputOf(name);
}

/** Licences of what a portable addon contains: names, and the files with the texts. */
function licences(name) {
  const source = path.join(tools, onednn());
  const compiler = path.dirname(realpathSync(zig));
  return {
    'oneDNN-LICENSE.txt': path.join(source, 'LICENSE'),
    'oneDNN-THIRD-PARTY-PROGRAMS.txt': path.join(source, 'THIRD-PARTY-PROGRAMS'),
    'libc++-LICENSE.txt': path.join(compiler, 'lib', 'libcxx', 'LICENSE.TXT'),
    ...(systems[name].cuda ? { 'CUDA.txt': path.join(__dirname, 'cuda-runtime.txt') } : {}),
  };
}

/** The addons that can be built on this machine. */
const buildable = () =>
  Object.keys(systems).filter(
    (name) => !systems[name].cuda || (process.arch === 'x64' && hasCompiler(withCudaToolkit(process.env))),
  );

module.exports = { build, buildable, faults, glibc, isInstalled, licences, outputOf };
if (require.main === module) {
  if (!isInstalled()) {
    console.error(`zig or oneDNN's source is not in ${tools}; run \`sh scripts/portable/setup.sh\`.`);
    process.exit(1);
  }
  const names = process.argv.slice(2);
  for (const name of names.length > 0 ? names : [`${process.platform}-${process.arch}`]) {
    if (!systems[name]) {
      console.error(`There is no package for '${name}', only for ${Object.keys(systems).join(', ')}.`);
      process.exit(2);
    }
    console.log(build(name));
  }
}
