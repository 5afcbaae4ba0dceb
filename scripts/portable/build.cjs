'use strict';
// Builds the addons that packages carry: for glibc 2.28 and newer, with oneDNN and libc++ inside, for any of the
// systems below on any of them.
//   node scripts/portable/build.cjs [linux-x64] [linux-arm64] [linux-x64-cuda]       this machine's own where none is
// named
// The addon is build/portable/<name>/Release/onehead.node. `sh scripts/portable/setup.sh` installs what it takes;
// oneDNN is compiled once for each system and kept beside its source.
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

/** The oldest glibc that is linked against: Debian 10's and RHEL 8's, which Node.js 20 needs itself. */
const glibc = '2.28';
const root = path.join(__dirname, '..', '..');
const cache = process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache');
const tools = process.env.ONEHEAD_PORTABLE || path.join(cache, 'onehead', 'portable');
const zig = path.join(tools, 'zig', 'zig');
const onednn = () => (existsSync(tools) ? readdirSync(tools).find((name) => /^oneDNN-[\d.]+$/.test(name)) : undefined);

/** Whether the compiler and oneDNN's source are there. */
const isInstalled = () => existsSync(zig) && onednn() !== undefined;

const outputOf = (name) => path.join(root, 'build', 'portable', name, 'Release', 'onehead.node');

function run(command, args, environment = process.env) {
  // The compilers are scripts that are written anew each time.
  const env = { CCACHE_COMPILERCHECK: 'content', ...environment };
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args[0]} failed; what it says above tells why`);
}

/** Has ccache keep what is compiled, where it is there. */
const launchers = () =>
  spawnSync('ccache', ['--version']).status === 0
    ? ['CXX', 'CUDA'].map((language) => `-DCMAKE_${language}_COMPILER_LAUNCHER=ccache`)
    : [];

/** Compilers as CMake wants them: programs without arguments. */
function compilers(name) {
  const folder = path.join(root, 'build', 'portable', name, 'compilers');
  mkdirSync(folder, { recursive: true });
  // Without that, zig adds checks for undefined behaviour to what is not optimized.
  const target = `-target ${systems[name].triple}.${glibc} -fno-sanitize=undefined`;
  const programs = { clang: `cc ${target}`, 'clang++': `c++ ${target}`, ar: 'ar', ranlib: 'ranlib' };
  const version = execFileSync(zig, ['version'], { encoding: 'utf8' }).trim();
  for (const [program, command] of Object.entries(programs)) {
    const file = path.join(folder, program);
    // oneDNN is compiled to be small, since it generates the code that computes; but for these loops.
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
 * oneDNN with the primitives that the addon uses (trim-onednn.sh), as a static library that keeps its names to itself.
 * Gives the folder it is installed in.
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
    // What clang compiles for OpenMP is found in the addon.
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

/** What of an addon would not do on another system: sentences. */
function faults(file, cpu) {
  const { needed, undefined: open, cpu: made, glibc: oldest } = read(file);
  const everywhere = /^(libc|libm|libdl|libpthread|librt|ld-linux[-\w]*)\.so\.\d+$/;
  // No C++ library comes with it: what is C++ is in the addon, or nowhere.
  const strange = open.filter((name) =>
    /^(_Z|__cpu_|dnnl_|__kmpc|GOMP|omp_|__cxa_(?!atexit|finalize|thread_atexit))/.test(name),
  );
  return [
    ...(made === cpu ? [] : [`It is for ${made} and not for ${cpu}.`]),
    ...(byVersion(oldest, glibc) <= 0 ? [] : [`It needs glibc ${oldest}, and ${glibc} is to do.`]),
    ...needed.filter((name) => !everywhere.test(name)).map((name) => `It needs ${name}.`),
    ...strange.map((name) => `It does not define ${name}.`),
  ];
}

/** Builds one, and gives its file. Throws where it cannot be built, or would not do. */
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
  if (wrong.length > 0) throw new Error(`${outputOf(name)} will not do: ${wrong.join(' ')}`);
  return outputOf(name);
}

/** Licences of what is in a portable addon: names, and the files that hold them. */
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

/** What can be built on this machine. */
const buildable = () =>
  Object.keys(systems).filter(
    (name) => !systems[name].cuda || (process.arch === 'x64' && hasCompiler(withCudaToolkit(process.env))),
  );

module.exports = { build, buildable, faults, glibc, isInstalled, licences, outputOf };
if (require.main === module) {
  if (!isInstalled()) {
    console.error(`Neither zig nor oneDNN's source is in ${tools}: run \`sh scripts/portable/setup.sh\`.`);
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
