/** Every kernel of a decode step at large-v3-turbo's shapes, each replayed alone over enough copies of what it reads that no cache helps. */
import { Device } from '../lib/device/device.js';
import type { Norm, Operations } from '../lib/device/operations.js';
import type { Program } from '../lib/device/program.js';
import type { Tensor } from '../lib/device/tensor.js';
import type { FloatingType } from '../lib/element-types.js';

export interface KernelTime {
  kernel: string;
  attention: string;
  batch: number;
  microseconds: number;
  /** Read from memory and written to it: weights, keys, values, and what is larger than a cache. */
  bytes: number;
}

const width = 1280;
const heads = 20;
const headSize = 64;
const vocabulary = 51866;
/** As many copies as make this, in bytes: several times the last cache of any GPU. */
const rotated = 512e6;
const mostCopies = 64;

interface Case {
  kernel: string;
  attention?: string;
  bytes: number;
  /** What one copy reads; then one launch. */
  prepare(): (ops: Operations) => void;
}

const median = (samples: number[]): number => samples.sort((a, b) => a - b)[Math.floor(samples.length / 2)];

/** A kernel at a batch size; `named` is its name in tables and messages. */
export interface KernelCase {
  named: string;
  measure(kind: string, dtype: FloatingType): Promise<KernelTime>;
  /** One launch, for a profiler to watch. */
  launch(kind: string, dtype: FloatingType): Promise<void>;
}

/** The kernels of a step at a batch size whose names have one of `parts` in them; none given: all. */
export function kernelCases(batch: number, parts: readonly string[] = []): KernelCase[] {
  const wanted = ({ kernel }: Case) => parts.length === 0 || parts.some((part) => kernel.includes(part));
  return casesOf(batch)
    .filter(wanted)
    .map(({ kernel, attention = 'any', bytes, prepare }) => {
      /** Its device, and with it all that it took, is closed behind each. */
      async function on<Result>(
        kind: string,
        dtype: FloatingType,
        copies: number,
        launches: number,
        use: (program: Program) => Promise<Result>,
      ): Promise<Result> {
        using device = new Device(kind);
        current = { device, dtype };
        const prepared = Array.from({ length: copies }, prepare);
        using program = device.record(kernel, (ops) => {
          for (let i = 0; i < launches; ++i) prepared[i % copies](ops);
        });
        return await use(program);
      }
      return {
        named: `${kernel}, ${attention}, batch ${batch}`,
        /** Many launches in one graph, a copy of what they read each in turn. */
        async measure(kind, dtype) {
          const copies = Math.max(1, Math.min(mostCopies, Math.ceil(rotated / bytes)));
          const launches = Math.max(copies, 16);
          const microseconds = await on(kind, dtype, copies, launches, async (program) => {
            const samples: number[] = [];
            for (let i = 0; i < 7; ++i) samples.push(await program.time(kind === 'cpu' ? 1 : 5));
            return median(samples) / launches;
          });
          return { kernel, attention, batch, microseconds, bytes };
        },
        async launch(kind, dtype) {
          await on(kind, dtype, 1, 1, (program) => program.run());
        },
      };
    });
}

let current: { device: Device; dtype: FloatingType };

const random = Float32Array.from({ length: 1 << 16 }, (_, i) => Math.sin(i * i));

/** A tensor of numbers: zeros can run faster than real data. */
function filled(type: FloatingType, shape: number[]): Tensor {
  const tensor = current.device.tensor(type, shape);
  for (let at = 0; at < tensor.size; at += random.length) {
    tensor.write(random.subarray(0, Math.min(random.length, tensor.size - at)), at).catch(() => {}); // reported when it runs
  }
  return tensor;
}

function casesOf(batch: number): Case[] {
  const float = (shape: number[]) => filled('float32', shape);
  const stored = (shape: number[]) => filled(current.dtype, shape);
  const norm = (): Norm => ({ weight: float([width]), bias: float([width]) });

  const linear = (
    kernel: string,
    [inputs, outputs]: [number, number],
    { normed = false, gelu = false, residual = false, logits = false, attention = 'any' } = {},
  ): Case => ({
    kernel,
    attention,
    bytes: 2 * inputs * outputs + (logits ? 4 * batch * outputs : 0),
    prepare() {
      const x = normed ? float([batch, 1, inputs]) : stored([batch, 1, inputs]);
      const weight = stored([outputs, inputs]);
      const type = residual || logits ? 'float32' : current.dtype;
      const options = {
        bias: logits ? undefined : float([outputs]),
        norm: normed ? norm() : undefined,
        activation: gelu ? ('gelu' as const) : undefined,
        residual: residual ? float([batch, 1, outputs]) : undefined,
        output: current.device.tensor(type, [batch, 1, outputs]),
        dtype: type as FloatingType,
      };
      return (ops) => void ops.linear(x, weight, options);
    },
  });

  const selfAttention = (attention: string, keyValueHeads: number): Case => {
    const shared = keyValueHeads * headSize;
    return {
      kernel: 'self-attention at 64 positions',
      attention,
      bytes: 2 * 2 * batch * 65 * shared,
      prepare() {
        const all = stored([batch, 1, width + 2 * shared]);
        const [key, value] = [stored([batch, 448, shared]), stored([batch, 448, shared])];
        const start = current.device.tensor('int32', [batch], new Int32Array(batch).fill(64));
        const output = current.device.tensor(current.dtype, [batch, 1, width]);
        const append = { key: all.columns(width, shared), value: all.columns(width + shared, shared) };
        const options = { heads, keyValueHeads, causal: true, start, append, output };
        return (ops) => void ops.attention(all.columns(0, width), key, value, options);
      },
    };
  };
  const crossAttention = (attention: string, keyValueHeads: number): Case => {
    const shared = keyValueHeads * headSize;
    return {
      kernel: 'cross-attention',
      attention,
      bytes: 2 * 2 * batch * 1500 * shared,
      prepare() {
        const query = stored([batch, 1, width]);
        const [key, value] = [stored([batch, 1500, shared]), stored([batch, 1500, shared])];
        const output = current.device.tensor(current.dtype, [batch, 1, width]);
        return (ops) => void ops.attention(query, key, value, { heads, keyValueHeads, output });
      },
    };
  };

  return [
    linear('norm, query key value', [width, 3 * width], { normed: true, attention: 'multi-head' }),
    linear('norm, query key value', [width, width + 2 * headSize], { normed: true, attention: 'multi-query' }),
    selfAttention('multi-head', heads),
    selfAttention('multi-query', 1),
    linear('out, residual', [width, width], { residual: true }),
    linear('norm, cross query', [width, width], { normed: true }),
    crossAttention('multi-head', heads),
    crossAttention('multi-query', 1),
    linear('norm, feed-forward up, GELU', [width, 4 * width], { normed: true, gelu: true }),
    linear('feed-forward down, residual', [4 * width, width], { residual: true }),
    linear('norm, logits', [width, vocabulary], { normed: true, logits: true }),
    layerNorm(batch === 1 ? 1500 : batch), // of an encoder, or of a decoder's sequences
    nextToken(batch),
    embed(batch),
  ];
}

function layerNorm(rows: number): Case {
  return {
    kernel: `layer norm of ${rows} rows`,
    bytes: rows * width * 6,
    prepare() {
      const x = filled('float32', [rows, width]);
      const norm = { weight: filled('float32', [width]), bias: filled('float32', [width]) };
      const output = current.device.tensor(current.dtype, [rows, width]);
      return (ops) => void ops.layerNorm(x, norm, { dtype: current.dtype, output });
    },
  };
}

function embed(batch: number): Case {
  return {
    kernel: 'embedding',
    bytes: batch * width * 10,
    prepare() {
      const { device, dtype } = current;
      const numbers = (value: number) => device.tensor('int32', [batch], new Int32Array(batch).fill(value));
      const tokens = device.tensor('int32', [batch, 448]);
      const table = filled(dtype, [1000, width]);
      const positions = filled('float32', [448, width]);
      const output = device.tensor('float32', [batch, 1, width]);
      const start = numbers(64);
      return (ops) => void ops.embed(tokens, start, table, positions, { output });
    },
  };
}

function nextToken(batch: number): Case {
  return {
    kernel: 'next token',
    bytes: 4 * batch * vocabulary,
    prepare() {
      const { device } = current;
      const numbers = (value: number) => device.tensor('int32', [batch], new Int32Array(batch).fill(value));
      const logits = filled('float32', [batch, vocabulary]);
      const state = {
        tokens: device.tensor('int32', [batch, 448]),
        logProbability: device.tensor('float32', [batch, 448]),
        length: numbers(64),
        position: numbers(63),
        begin: numbers(4),
        minimum: numbers(440),
        maximum: numbers(440),
        timestamps: numbers(0), // under the timestamp rules a sequence of nonsense ends soon
        finished: numbers(0),
      };
      const rules = {
        suppressed: device.tensor('uint8', [vocabulary]),
        endToken: 50257,
        noTimestampsToken: 50364,
        timestampBegin: 50365,
        maxInitialTimestamp: 50,
      };
      return (ops) => ops.nextToken(logits, rules, state);
    },
  };
}
