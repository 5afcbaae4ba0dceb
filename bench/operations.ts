/**
 * `npm run bench -- operations`: measures each operation at Whisper's shapes (the cases of test/cases), and compares it
 * with the device's ceilings: the bandwidth of plain reads, measured in turns with the operation, and the rate of a
 * large matrix product. Prints a table, and stores JSON after each case. A case that fails is printed and stored under
 * `failures`; the others are still measured, and the exit status is 1.
 *
 *   --device KIND       cpu (default), cuda, cuda:N, or cuda-emulated to test the benchmark itself
 *   --only PART         cases of a family, or with this text in `operation: name`; may be repeated:
 *                       --only rows --only "tiny, batch 1, out"
 *   --exactly NAME      only the case with this `operation: name`
 *   --batches N,...     (default: 1,8,32)
 *   --dtype TYPE,...    (default: bfloat16,float32 on a CPU, float16 on a GPU)
 *   --threads N         CPU threads (default: the device's)
 *   --kernels NAME      instruction set of a CPU (default: the best)
 *   --repeats N         samples of each case (default: 9)
 *   --seconds N         maximum time for each case, after at least three samples (default: 2)
 *   --list              lists the cases
 *   --check             checks the cases of `npm test` instead, for machines without test tools
 *   --ncu               prints counters of Nsight Compute (`ncu` on PATH or in ONEHEAD_NCU); each case is a process
 *   --launch            runs the cases once, for use with a profiler
 *   --output FILE
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Device } from '../lib/device/device.js';
import type { FloatingType } from '../lib/element-types.js';
import { measureCeilings, StreamingRead } from '../lib/profiler/measuring/ceilings.js';
import { describeMachine } from '../lib/profiler/measuring/machine.js';
import { RandomWeights } from '../lib/profiler/measuring/random-weights.js';
import { isNoisy, relativeSpread } from '../lib/profiler/measuring/statistics.js';
import type { OperationCase } from '../test/cases/case.js';
import { checkedCases, faults } from '../test/cases/check.js';
import { families } from '../test/cases/index.js';
import { type Counters, profileCase } from './operations/counters.js';
import { launchCase, type OperationTime, PreparedCase, timeCase } from './operations/time.js';
import { ResultFile, type StoredResult } from './result-file.js';

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    device: { type: 'string', default: 'cpu' },
    only: { type: 'string', multiple: true },
    exactly: { type: 'string' },
    batches: { type: 'string', default: '1,8,32' },
    dtype: { type: 'string' },
    threads: { type: 'string' },
    kernels: { type: 'string' },
    repeats: { type: 'string', default: '9' },
    seconds: { type: 'string', default: '2' },
    list: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    ncu: { type: 'boolean', default: false },
    launch: { type: 'boolean', default: false },
    output: { type: 'string' },
  },
});
const root = new URL('..', import.meta.url).pathname;
const kind = values.device;
const dtypes = (values.dtype ?? (kind === 'cpu' ? 'bfloat16,float32' : 'float16')).split(',') as FloatingType[];
const batches = values.batches.split(',').map(Number);
const only = values.only;
const nameOf = ({ operation, name }: OperationCase) => `${operation}: ${name}`;

const open = () =>
  new Device(kind, {
    threads: values.threads === undefined ? undefined : Number(values.threads),
    kernels: values.kernels,
  });

function isSelected(family: string, operationCase: OperationCase): boolean {
  const name = nameOf(operationCase);
  if (values.exactly !== undefined) return name === values.exactly;
  return !only || only.some((part) => part === family || name.includes(part));
}

function chosenCases(): OperationCase[] {
  return Object.entries(families).flatMap(([name, family]) => {
    const cases = values.check ? checkedCases(family) : batches.flatMap((batch) => family.timed(batch));
    return cases.filter((operationCase) => isSelected(name, operationCase));
  });
}

/** Each case in each of the types that it supports on the device. A case without storage types runs once. */
const cases = dtypes.flatMap((dtype) =>
  chosenCases()
    .filter((operationCase) =>
      operationCase.dtypes ? operationCase.dtypes.includes(dtype) || dtype === dtypes[0] : true,
    )
    .map((operationCase) => ({
      operationCase,
      dtype: operationCase.dtypes && !operationCase.dtypes.includes(dtype) ? operationCase.dtypes[0] : dtype,
    }))
    .filter(
      ({ operationCase, dtype }) => operationCase.supports?.({ device: kind.replace(/:\d+$/, ''), dtype }) ?? true,
    ),
);
const distinctCases = [
  ...new Map(cases.map((selected) => [`${nameOf(selected.operationCase)}, ${selected.dtype}`, selected])).values(),
];

if (distinctCases.length === 0) {
  const parts = values.exactly === undefined ? (only ?? []) : [values.exactly];
  console.error(`No case has ${parts.map((part) => `'${part}'`).join(' or ')} in its name; --list prints the names.`);
  process.exit(2);
}
if (values.list) {
  for (const { operationCase, dtype } of distinctCases) console.log(`${nameOf(operationCase)}, ${dtype}`);
  process.exit(0);
}
const { cuda } = Device.information();
if (kind.startsWith('cuda') && kind !== 'cuda-emulated' && !cuda.available) {
  console.error(`There is no GPU to measure: ${cuda.reason}.`);
  process.exit(1);
}

/** Checks the cases, and sets the exit status to 1 if one fails. */
async function check(): Promise<void> {
  let failed = 0;
  let device = open();
  for (const { operationCase, dtype } of distinctCases) {
    const found = await faults(device, operationCase, dtype).catch((error: Error) => [error.message]);
    if (found.length === 0) continue;
    ++failed;
    console.log(`FAILED ${nameOf(operationCase)}, ${dtype}: ${found.join('; ')}`);
    device.close();
    device = open();
  }
  device.close();
  console.log(`${distinctCases.length} cases on ${kind}, ${failed} failed`);
  if (failed > 0) process.exitCode = 1;
}

interface Measured {
  /** By storage type. */
  ceilings: Record<string, { bytesPerSecond: number; operationsPerSecond: number }>;
  operations: OperationTime[];
  counters: ({ case: string } & Counters)[];
}

const percent = (part: number, whole: number) => `${((100 * part) / whole).toFixed(1).padStart(6)}%`;

function print({ operation, name, dtype, time, bytes, operations, readBytesPerSecond }: OperationTime, peak: number) {
  const seconds = time.median / 1e6;
  const spread = `±${(100 * relativeSpread(time)).toFixed(0)}%${isNoisy(time) ? ' noisy' : ''}`;
  console.log(
    [
      `${operation}: ${name}, ${dtype}`.padEnd(92),
      time.median.toFixed(1).padStart(10),
      spread.padEnd(7),
      (bytes / seconds / 1e9).toFixed(1).padStart(8),
      percent(bytes / seconds, readBytesPerSecond),
      (operations / seconds / 1e9).toFixed(1).padStart(9),
      percent(operations / seconds, peak),
    ].join(' '),
  );
}

type Result = StoredResult & Measured & Record<string, unknown>;

/** The stored result, which has no cases yet. */
function openResult(): ResultFile<Result> {
  const result: Result = {
    date: new Date().toISOString(),
    complete: false,
    machine: describeMachine(),
    settings: { ...values, dtypes, batches },
    ceilings: {},
    operations: [],
    counters: [],
    failures: [],
  };
  const machine = (cuda.devices[0]?.name ?? kind).toLowerCase().replace(/[^a-z0-9]+/g, '-');
  const day = result.date.slice(0, 10);
  const path =
    values.output ?? join(root, 'bench', 'results', `operations-${kind === 'cpu' ? 'cpu' : machine}-${day}.json`);
  return new ResultFile(path, result);
}

/** Runs the cases with Nsight Compute. */
async function count(): Promise<void> {
  const file = openResult();
  for (const { operationCase, dtype } of distinctCases) {
    const name = nameOf(operationCase);
    await file.attempt(
      `${name}, ${dtype}`,
      async () => profileCase(name, values.batches, kind, dtype),
      (rows) => {
        for (const row of rows) {
          file.result.counters.push({ case: `${name}, ${dtype}`, ...row });
          const label = `${name}: ${row.function}`.slice(0, 96).padEnd(96);
          const percent = `memory ${row.memoryPercent}%, warps ${row.warpsPercent}%`;
          console.log(
            `${label} ${row.microseconds.toFixed(1).padStart(9)} us, ${percent}, ${row.registers} registers, ${row.blocks} blocks`,
          );
        }
      },
    );
  }
  file.finish();
}

/** Times the cases. */
async function measure(): Promise<void> {
  const file = openResult();
  const { result } = file;
  const effort = { repeats: Number(values.repeats), seconds: Number(values.seconds) };
  let device = open();
  const largest = Math.max(
    ...distinctCases.map(({ operationCase, dtype }) => PreparedCase.largestWeight(operationCase, dtype)),
    ...dtypes.map((dtype) => {
      const { inputs, outputs } = StreamingRead.shape(device.kind, dtype);
      return inputs * outputs;
    }),
  );
  const weights = await RandomWeights.create(largest);
  const reads = new Map<FloatingType, StreamingRead>();
  try {
    console.log(
      `${'case'.padEnd(92)} ${'us'.padStart(10)} spread  ${'GB/s'.padStart(8)} of read ${'GFLOP/s'.padStart(9)} of peak`,
    );
    for (const { operationCase, dtype } of distinctCases) {
      await file.attempt(
        `${nameOf(operationCase)}, ${dtype}`,
        async () => {
          result.ceilings[dtype] ??= await measureCeilings(device, dtype);
          let read = reads.get(dtype);
          if (!read) {
            read = await StreamingRead.create(device, dtype, weights);
            reads.set(dtype, read);
          }
          return timeCase(device, operationCase, dtype, { weights, read, effort });
        },
        (row) => {
          result.operations.push(row);
          print(row, result.ceilings[dtype].operationsPerSecond);
        },
      );
      if (result.failures.at(-1)?.case !== `${nameOf(operationCase)}, ${dtype}`) continue;
      // After an error, a CUDA context fails all further work, so the device is opened again.
      device.close();
      device = open();
      reads.clear();
    }
    file.finish();
  } finally {
    device.close();
    await weights.dispose();
  }
}

async function launch(): Promise<void> {
  using device = open();
  const largest = Math.max(
    1,
    ...distinctCases.map(({ operationCase, dtype }) => PreparedCase.largestWeight(operationCase, dtype)),
  );
  const weights = await RandomWeights.create(largest);
  try {
    for (const { operationCase, dtype } of distinctCases) await launchCase(device, operationCase, dtype, weights);
  } finally {
    await weights.dispose();
  }
}

await (values.check ? check() : values.launch ? launch() : values.ncu ? count() : measure());
