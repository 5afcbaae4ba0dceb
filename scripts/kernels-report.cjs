'use strict';
// Compiles all CUDA kernels for all shipped architectures, and reports the registers and spills of each, and the number
// of warps for which its registers suffice. Shared memory is not reported, since it depends on the shape. The exit
// status is 1 if a kernel does not compile, or if one for 16-bit types, which are the fast path, spills more than
// known.
// npm run kernels:report [-- --architectures 90a,100] [--all]
const { execFile, execFileSync } = require('node:child_process');
const { readdirSync, readFileSync } = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs, promisify } = require('node:util');
const { withCudaToolkit } = require('./cuda-toolkit.cjs');

const root = path.join(__dirname, '..');
const shipped = /set\(CMAKE_CUDA_ARCHITECTURES ([^)]*-real)/
  .exec(readFileSync(path.join(root, 'CMakeLists.txt'), 'utf8'))[1]
  .split(' ')
  .filter((name) => name.endsWith('-real'))
  .map((name) => name.replace('-real', ''));
const { values } = parseArgs({
  options: {
    architectures: { type: 'string', default: shipped.join(',') },
    // Prints all kernels of all architectures. By default, those of the first architecture, and all that spill.
    all: { type: 'boolean', default: false },
  },
});
const native = path.join(root, 'native');
const files = readdirSync(native, { recursive: true }).filter((name) => name.endsWith('.cu'));
const run = promisify(execFile);
const compiler = withCudaToolkit(process.env).CUDACXX ?? 'nvcc';

/** Accepted spills of kernels for 16-bit types, stores and loads, in bytes per thread (docs/performance.md). */
const acceptedSpills = [
  { file: 'attention_streaming.cu', architectures: ['120'], bytes: 160 },
  { file: 'attention_decode.cu', architectures: ['100', '120'], bytes: 160 },
];
const allowed = ({ file, architecture }) =>
  acceptedSpills.find((spill) => spill.file === path.basename(file) && spill.architectures.includes(architecture))
    ?.bytes ?? 0;

/** Demangles a kernel's name, such as 'decodeKernel<float16, 64>'. */
function demangle(mangled) {
  return execFileSync('c++filt', [mangled], { encoding: 'utf8' })
    .trim()
    .replace(/\(anonymous namespace\)::|onehead::cuda::/g, '')
    .replace(/^void /, '')
    .replace(/\((?!int\)|bool\)|long\)).*$/, '')
    .replace(/\((int|bool|long)\)/g, '')
    .replace(/__nv_bfloat16/g, 'bfloat16')
    .replace(/__half/g, 'float16');
}

async function compile(file, architecture) {
  const options = [
    '-std=c++20',
    '-O3',
    '--expt-relaxed-constexpr',
    '-I',
    native,
    `-arch=sm_${architecture}`,
    '-Xptxas',
    '-v',
  ];
  const { stderr } = await run(compiler, [...options, '-cubin', '-o', '/dev/null', path.join(native, file)], {
    maxBuffer: 1 << 26,
  });
  const found = [];
  for (const block of stderr.split('Compiling entry function ').slice(1)) {
    const number = (pattern) => Number(pattern.exec(block)?.[1] ?? 0);
    const registers = number(/Used (\d+) registers/);
    found.push({
      file,
      architecture,
      kernel: demangle(/'([^']+)'/.exec(block)[1]),
      registers,
      spilled: number(/(\d+) bytes spill stores/) + number(/(\d+) bytes spill loads/),
      // A multiprocessor has 65,536 registers, which are allocated to warps in units of 256.
      warps: Math.min(64, Math.floor(65536 / (Math.ceil((registers * 32) / 256) * 256))),
    });
  }
  return found;
}

async function main() {
  const architectures = values.architectures.split(',');
  const jobs = architectures.flatMap((architecture) => files.map((file) => ({ architecture, file })));
  const results = [];
  const worker = async () => {
    for (let job = jobs.shift(); job; job = jobs.shift()) results.push(...(await compile(job.file, job.architecture)));
  };
  await Promise.all(Array.from({ length: os.availableParallelism() }, worker));
  results.sort(
    (a, b) =>
      architectures.indexOf(a.architecture) - architectures.indexOf(b.architecture) ||
      a.file.localeCompare(b.file) ||
      a.kernel.localeCompare(b.kernel),
  );
  console.log(
    `${'kernel'.padEnd(52)} ${'sm'.padEnd(5)} registers  spilled bytes  warps by registers (of 64; 48 on some)`,
  );
  for (const { kernel, architecture, registers, spilled, warps } of results) {
    if (!values.all && architecture !== architectures[0] && spilled === 0) continue;
    console.log(
      `${kernel.padEnd(52)} ${architecture.padEnd(5)} ${String(registers).padStart(9)}  ${String(spilled).padStart(13)}  ${String(warps).padStart(5)}`,
    );
  }
  const spilling = results.filter(({ kernel, spilled }) => spilled > 0 && /float16|bfloat16/.test(kernel));
  const excessive = spilling.filter((result) => result.spilled > allowed(result));
  console.log(
    `${results.length} kernels for ${architectures.length} architectures; ${spilling.length} of those for 16-bit types spill, ${excessive.length} more than accepted`,
  );
  process.exitCode = excessive.length > 0 ? 1 : 0;
}

main().catch((error) => {
  console.error(
    error.code === 'ENOENT'
      ? 'nvcc was not found: add it to PATH, set CUDACXX to its path, or run `sh scripts/setup.sh cuda`.'
      : (error.stderr ?? error),
  );
  process.exitCode = 1;
});
