/**
 * `npm run bench -- cuda`: compares the CUDA backend with its GPU's ceilings of bandwidth and arithmetic, measured in
 * the same run. Prints tables, and stores JSON after each case. A case that fails is printed and stored under
 * `failures`; the others are still measured, and the exit status is 1. `npm run bench -- operations --device cuda`
 * measures single operations.
 *
 *   --only PART,...        any of steps, encoder, peers; the ceilings are always measured (default: all)
 *   --trace FILE           stores a trace of each step, for `npm run bench -- timeline` and chrome://tracing
 *   --models NAME,...      models of steps and encoder (default: tiny,small,large-v3,turbo)
 *   --peers NAME,...       models that are compared with transformers (default: tiny,small,turbo)
 *   --batches N,...        batches of steps (default: 1,8,32,64)
 *   --attentions NAME,...  attention of steps: multi-head, mqa self, mqa cross, mqa both (default: all)
 *   --python PYTHON        a Python with torch and transformers, for the peers (default: ONEHEAD_PYTHON, else python3)
 *   --device KIND          another device, to test the benchmark itself (default: cuda)
 *   --output FILE
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Device } from '../lib/device/device.js';
import type { FloatingType } from '../lib/element-types.js';
import { decoderShape, decodeStep, encoder, memoryBytes } from '../lib/profiler/io-model/index.js';
import { measureCeilings } from '../lib/profiler/measuring/ceilings.js';
import { describeMachine } from '../lib/profiler/measuring/machine.js';
import { randomModel } from '../lib/profiler/measuring/random-weights.js';
import { type AttentionPart, whisperConfig, withKeyValueHeads } from '../lib/profiler/measuring/shapes.js';
import { statistics } from '../lib/profiler/measuring/statistics.js';
import { TraceFile } from '../lib/profiler/measuring/trace.js';
import { WhisperModel } from '../lib/whisper/decoding/whisper-model.js';
import { commit, root } from './machine.js';
import { lastLine, run } from './programs.js';
import { writeRandomCheckpoint } from './random-checkpoint.js';
import { ResultFile } from './result-file.js';

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    only: { type: 'string', default: 'steps,encoder,peers' },
    models: { type: 'string', default: 'tiny,small,large-v3,turbo' },
    peers: { type: 'string', default: 'tiny,small,turbo' },
    batches: { type: 'string', default: '1,8,32,64' },
    attentions: { type: 'string', default: 'multi-head,mqa self,mqa cross,mqa both' },
    python: { type: 'string', default: process.env.ONEHEAD_PYTHON ?? 'python3' },
    device: { type: 'string', default: 'cuda' },
    trace: { type: 'string' },
    output: { type: 'string' },
  },
});
const kind = values.device;
const dtype: FloatingType = kind === 'cpu' ? 'bfloat16' : 'float16';
const parts = values.only.split(',').map((word) => word.trim());
const models = values.models.split(',');
const batches = values.batches.split(',').map(Number);
/** Positions in the self-attention cache when steps are timed: half of a typical text of 128 tokens. */
const position = 64;

const median = (samples: readonly number[]): number => statistics(samples).median;
const cells = (...columns: [string | number, number][]) =>
  columns
    .map(([value, width]) => (typeof value === 'string' ? value.padEnd(width) : value.toFixed(1).padStart(width)))
    .join(' ');

const attentions: Record<string, AttentionPart[]> = {
  'multi-head': [],
  'mqa self': ['self'],
  'mqa cross': ['cross'],
  'mqa both': ['self', 'cross'],
};

const unknown = values.attentions.split(',').find((name) => !(name in attentions));
if (unknown !== undefined) {
  console.error(`Expected --attentions to name ${Object.keys(attentions).join(', ')} but received '${unknown}'.`);
  process.exit(2);
}

const traces = new TraceFile();

/** Measures a decode step of a batch in which each sequence has `position` earlier positions. */
async function measureStep(name: string, attention: string, batch: number) {
  const config = withKeyValueHeads(whisperConfig(name), attentions[attention], 1);
  const model = await randomModel(config, { device: kind, dtype, batch });
  try {
    using encoded = model.device.tensor(dtype, [batch, config.sourcePositions, config.width]);
    await model.generate(encoded, position - model.prompt.length);
    const samples: number[] = [];
    for (let i = 0; i < 7; ++i) samples.push(await model.step.time(20));
    if (values.trace) {
      traces.add(`step of ${name}, ${attention}, batch ${batch}`, await model.step.trace());
      await traces.write(values.trace);
    }
    const bytes = decodeStep(decoderShape(config), { batch, position }).reduce(
      (sum, cost) => sum + memoryBytes(cost),
      0,
    );
    const floor = (1e6 * bytes) / ceilings.bytesPerSecond;
    const microseconds = median(samples);
    return { model: name, attention, batch, microseconds, floor, percentOfFloor: (100 * floor) / microseconds };
  } finally {
    model.dispose();
  }
}

async function measureEncoder(name: string, batch: number) {
  const config = whisperConfig(name);
  const model = await randomModel(config, { device: kind, dtype, batch });
  try {
    const samples: number[] = [];
    for (let i = 0; i < 5; ++i) samples.push(await model.encoder.time(kind === 'cpu' ? 1 : 5));
    const operations = encoder(config, { batch }).reduce((sum, cost) => sum + cost.operations, 0);
    const microseconds = median(samples);
    const percentOfCeiling = (100 * operations) / (microseconds * 1e-6) / ceilings.operationsPerSecond;
    return { model: name, batch, milliseconds: microseconds / 1000, operations, percentOfCeiling };
  } finally {
    model.dispose();
  }
}

/** Measures memory-efficient attention at the shape of large-v3's encoder, and torch's; null without torch. */
async function measureAttention(batch: number) {
  const [positions, heads] = [1500, 20];
  using device = new Device(kind);
  const random = Float32Array.from({ length: batch * positions * heads * 64 }, (_, i) => Math.sin(i * i));
  const [query, key, value, output] = [0, 1, 2, 3].map(() =>
    device.tensor(dtype, [batch, positions, heads * 64], random),
  );
  const calls = kind === 'cpu' ? 1 : 20;
  using program = device.record('attention', (ops) => {
    for (let i = 0; i < calls; ++i) ops.attention(query, key, value, { heads, algorithm: 'memory-efficient', output });
  });
  const samples: number[] = [];
  for (let i = 0; i < 7; ++i) samples.push((await program.time()) / calls);
  const target = kind === 'cpu' ? 'cpu' : 'cuda';
  const shape = ['--batch', String(batch), '--heads', String(heads), '--positions', String(positions)];
  const torch = spawnSync(
    values.python,
    ['bench/peers/sdpa.py', ...shape, '--device', target, '--dtype', dtype, '--calls', String(calls)],
    { encoding: 'utf8', cwd: root },
  );
  const microseconds = median(samples);
  const operations = 4 * batch * heads * positions ** 2 * 64;
  return {
    batch,
    microseconds,
    percentOfCeiling: (100 * operations) / (microseconds * 1e-6) / ceilings.operationsPerSecond,
    torch: torch.status === 0 ? Number(torch.stdout) : null,
  };
}

/** Milliseconds of onehead: of the encoder, and of transcribing features to 25 and to 256 forced tokens. */
async function measureOnehead(checkpoint: string, batch: number) {
  const model = await WhisperModel.load(checkpoint, { device: kind, dtype, windows: batch, rows: batch });
  try {
    using features = await model.features(
      Array.from({ length: batch }, () =>
        Float32Array.from({ length: 480_000 }, (_, i) => 0.1 * Math.sin(i * i * 1e-6)),
      ),
    );
    const time = async (work: () => Promise<unknown>) => {
      await work();
      const samples: number[] = [];
      for (let i = 0; i < 5; ++i) {
        const start = performance.now();
        await work();
        samples.push(performance.now() - start);
      }
      return median(samples);
    };
    const milliseconds: Record<string, number> = {};
    milliseconds.encoder = await time(async () => (await model.encode(features)).dispose());
    let tokens: number[][] = [];
    for (const count of [25, 256]) {
      milliseconds[count] = await time(async () => {
        using encoded = await model.encode(features);
        tokens = await model.generate(encoded, { language: 'en', minNewTokens: count, maxNewTokens: count });
      });
    }
    return { system: 'onehead', mode: dtype, milliseconds, tokens: tokens[0] };
  } finally {
    model.dispose();
  }
}

/** The same for transformers, in a separate process, in each of its modes. */
function measureTransformers(checkpoint: string, batch: number): Awaited<ReturnType<typeof measureOnehead>>[] {
  const device = kind === 'cpu' ? 'cpu' : 'cuda';
  const options = ['--batch', String(batch), '--device', device, '--dtype', dtype];
  try {
    return JSON.parse(lastLine(run([values.python, 'bench/peers/transformers_cuda.py', checkpoint, ...options])));
  } catch (error) {
    console.error(`  not measured: transformers: ${(error as Error).message}`);
    return [];
  }
}

async function measurePeers(name: string) {
  const folder = mkdtempSync(join(tmpdir(), 'onehead-bench-'));
  try {
    const checkpoint = writeRandomCheckpoint(join(folder, name), name);
    const rows = [];
    for (const batch of kind === 'cpu' ? [1] : [1, 32]) {
      const onehead = await measureOnehead(checkpoint, batch);
      for (const { system, mode, milliseconds, tokens } of [onehead, ...measureTransformers(checkpoint, batch)]) {
        let equal = 0;
        while (equal < tokens.length && tokens[equal] === onehead.tokens[equal]) ++equal;
        rows.push({ model: name, batch, system, mode, milliseconds, equalTokens: equal, tokens: tokens.length });
      }
    }
    return rows;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function deviceCeilings() {
  using device = new Device(kind);
  return await measureCeilings(device, dtype);
}

const { cuda } = Device.information();
if (kind.startsWith('cuda') && kind !== 'cuda-emulated' && !cuda.available) {
  console.error(`There is no GPU to measure: ${cuda.reason}.`);
  process.exit(1);
}
const ceilings = await deviceCeilings();
console.log(
  `${cuda.devices[0]?.name ?? kind}: ${(ceilings.bytesPerSecond / 1e9).toFixed(0)} GB/s, ${(ceilings.operationsPerSecond / 1e12).toFixed(1)} TFLOP/s in ${dtype}${cuda.cublasLt ? ` (${cuda.cublasLt})` : ''}`,
);

const smi = spawnSync('nvidia-smi', ['--query-gpu=driver_version', '--format=csv,noheader'], { encoding: 'utf8' });
const result = {
  date: new Date().toISOString(),
  /** True if the run is finished; `failures` has the cases without figures. */
  complete: false,
  commit: commit(),
  machine: describeMachine(),
  gpu: cuda.devices[0] ?? null,
  driver: smi.status === 0 ? smi.stdout.trim() : null,
  cublasLt: cuda.cublasLt,
  settings: { dtype, position, weights: 'random', device: kind },
  ceilings,
  steps: [] as Awaited<ReturnType<typeof measureStep>>[],
  encoders: [] as Awaited<ReturnType<typeof measureEncoder>>[],
  attention: [] as Awaited<ReturnType<typeof measureAttention>>[],
  peers: [] as Awaited<ReturnType<typeof measurePeers>>,
  failures: [] as { case: string; message: string }[],
};
const name = (cuda.devices[0]?.name ?? kind).toLowerCase().replace(/[^a-z0-9]+/g, '-');
const output = values.output ?? join(root, 'bench', 'results', `${name}-${result.date.slice(0, 10)}.json`);
const file = new ResultFile(output, result);

if (parts.includes('steps')) {
  console.log(`\n${cells(['decode step', 10], ['attention', 11], ['batch', 6])}        us     floor  % of floor`);
  for (const model of models) {
    for (const attention of values.attentions.split(',')) {
      for (const batch of batches) {
        await file.attempt(
          `step of ${model}, ${attention}, batch ${batch}`,
          () => measureStep(model, attention, batch),
          (row) => {
            result.steps.push(row);
            const { microseconds, floor, percentOfFloor } = row;
            console.log(
              cells(
                [model, 11],
                [attention, 11],
                [String(batch), 6],
                [microseconds, 9],
                [floor, 9],
                [percentOfFloor, 9],
              ),
            );
          },
        );
      }
    }
  }
}

if (parts.includes('encoder')) {
  console.log(`\n${cells(['encoder', 11], ['batch', 6])}        ms  % of peak arithmetic`);
  // turbo has the encoder of large-v3.
  for (const model of models.filter((name) => name !== 'turbo')) {
    for (const batch of kind === 'cpu' ? [1] : [1, 8]) {
      await file.attempt(
        `encoder of ${model}, batch ${batch}`,
        () => measureEncoder(model, batch),
        (row) => {
          result.encoders.push(row);
          console.log(cells([model, 11], [String(batch), 6], [row.milliseconds, 9], [row.percentOfCeiling, 9]));
        },
      );
    }
  }
  const attentionColumns = cells(['memory-efficient', 20], ['batch', 6]);
  console.log(`\n${attentionColumns}        us  torch sdpa  % of peak arithmetic`);
  for (const batch of kind === 'cpu' ? [1] : [1, 8]) {
    await file.attempt(
      `memory-efficient attention, batch ${batch}`,
      () => measureAttention(batch),
      (row) => {
        result.attention.push(row);
        const { microseconds, torch, percentOfCeiling } = row;
        console.log(
          cells(
            ['20 heads, 1500', 20],
            [String(batch), 6],
            [microseconds, 9],
            [torch ?? Number.NaN, 11],
            [percentOfCeiling, 9],
          ),
        );
      },
    );
  }
}

if (parts.includes('peers')) {
  console.log(
    `\n${cells(['comparison', 12], ['batch', 6], ['system', 32])}   encoder  25 tokens 256 tokens (ms)  equal`,
  );
  for (const model of values.peers.split(',')) {
    await file.attempt(
      `comparison, ${model}`,
      () => measurePeers(model),
      (rows) => {
        for (const row of rows) {
          result.peers.push(row);
          const { milliseconds, system, mode, batch, equalTokens, tokens } = row;
          console.log(
            cells(
              [model, 12],
              [String(batch), 6],
              [`${system} ${mode}`, 32],
              [milliseconds.encoder, 9],
              [milliseconds[25], 10],
              [milliseconds[256], 10],
              [`     ${equalTokens}/${tokens}`, 8],
            ),
          );
        }
      },
    );
  }
}

file.finish();
