import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Device } from '../../lib/device/device.js';
import type { Operations } from '../../lib/device/operations.js';
import type { Tensor } from '../../lib/device/tensor.js';
import { kinds } from './devices.js';
import { failure } from './failure.js';

describe.each(kinds)('programs of the device %s', (kind) => {
  let device: Device;
  beforeAll(() => {
    device = new Device(kind, { threads: 2 });
  });
  afterAll(() => device.close());
  it('name the invalid argument and its operation, and explain what is wrong', async () => {
    const x = device.tensor('float32', [1, 8]);
    const weight = device.tensor('float32', [4, 8]);
    const bias = device.tensor('float32', [3]);
    const error = await failure(() => device.record('bad', (ops) => void ops.linear(x, weight, { bias })));
    expect(error).toMatchObject({
      code: 'INVALID_SHAPE',
      operation: 'linear',
      argument: 'bias',
      expected: '[4]',
      received: '[3]',
      message: 'linear: expected bias to be [4] but received [3].',
    });
  });

  it('refuse temporaries of another program, other devices’ tensors and disposed ones', async () => {
    const x = device.tensor('float32', [1, 8]);
    const weight = device.tensor('float32', [4, 8]);
    let strange = x;
    device.record('one', (ops) => {
      strange = ops.linear(x, weight);
    });
    expect((await failure(() => device.record('two', (ops) => void ops.linear(strange, weight)))).code).toBe(
      'INVALID_ARGUMENT',
    );
    using other = new Device(kind, { threads: 1 });
    const foreign = other.tensor('float32', [1, 8]);
    const error = await failure(() => device.record('three', (ops) => void ops.linear(foreign, weight)));
    expect(error.received).toBe('a tensor of another device');
    weight.dispose();
    const disposed = await failure(() => device.record('four', (ops) => void ops.linear(x, weight)));
    expect(disposed).toMatchObject({ code: 'DISPOSED', operation: 'linear', argument: 'weight' });
  });

  it('refuse an asynchronous body, and a temporary outside its program', async () => {
    const target = device.tensor('float32', [4]);
    const late = async (ops: Operations) => {
      await null;
      ops.copy(target);
    };
    const record = () => device.record('late', late as (ops: Operations) => void);
    expect(record).toThrow('Expected the result of body to be nothing but received Promise; record all operations');
    let temporary = target;
    device.record('copy', (ops) => {
      temporary = ops.copy(target);
    });
    expect(() => device.copy(temporary, target)).toThrow("copy: a program's temporary cannot be accessed from outside");
  });

  it('refuse at recording what the device does not support', async () => {
    using cpu = new Device('cpu', { threads: 1 });
    const x = cpu.tensor('float16', [1, 8]);
    const weight = cpu.tensor('float16', [4, 8]);
    const error = await failure(() => cpu.record('half', (ops) => void ops.linear(x, weight)));
    expect(error).toMatchObject({ code: 'NOT_SUPPORTED', operation: 'linear' });
    expect(error.message).toBe('linear: The CPU computes in float32, bfloat16, not in float16.');
    const floats = cpu.tensor('float32', [4, 8]);
    const temporary = await failure(() => cpu.record('made', (ops) => void ops.linear(floats, ops.copy(floats))));
    expect(temporary).toMatchObject({ code: 'NOT_SUPPORTED' });
    // Operations that only move elements support any type.
    using program = cpu.record('moved', (ops) => void ops.copy(x));
    expect(await program.run()).toBe(1);
  });

  it('keep used tensors alive, and share one arena among temporaries with disjoint lifetimes', async () => {
    const width = 256;
    const x = device.tensor('float32', [1, width], new Float32Array(width).fill(1));
    const identity = new Float32Array(width * width);
    for (let i = 0; i < width; ++i) identity[i * width + i] = 2;
    const weight = device.tensor('float32', [width, width], identity);
    const output = device.tensor('float32', [1, width]);
    using program = device.record('chain', (ops) => {
      let y = x;
      for (let i = 0; i < 9; ++i) y = ops.linear(y, weight);
      ops.linear(y, weight, { output });
    });
    expect(program.arenaBytes).toBe(2 * width * 4);
    weight.dispose();
    await program.run();
    expect((await output.toFloat32Array())[0]).toBe(1024);
  });

  it('replay the given number of times, end early when all flags are set, and stop when aborted', async () => {
    const finished = device.tensor('int32', [2], Int32Array.from([1, 1]));
    const x = device.tensor('float32', [1, 512]);
    const weight = device.tensor('float32', [512, 512]);
    using program = device.record('loop', (ops) => void ops.linear(x, weight));
    expect(await program.run({ times: 5 })).toBe(5);
    expect(await program.run({ times: 5, until: finished })).toBe(0);
    const controller = new AbortController();
    const endless = program.run({ times: 1e12, signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 20);
    await expect(endless).rejects.toThrow('enough');
    expect(await program.run({ times: 1 })).toBe(1);
  });

  it('end early when any flag is set, and after a whole replay when they are stopped', async () => {
    const flags = device.tensor('int32', [3]);
    const x = device.tensor('float32', [1, 512]);
    const weight = device.tensor('float32', [512, 512]);
    using program = device.record('loop', (ops) => void ops.linear(x, weight));
    const any = { flags, when: 'any' } as const;
    expect(await program.run({ times: 5, until: any })).toBe(5);
    await flags.write(Int32Array.from([0, 1, 0]));
    expect(await program.run({ times: 5, until: any })).toBe(0);
    expect(await program.run({ times: 5, until: { flags, when: 'all' } })).toBe(5);
    expect((await failure(() => program.run({ until: { flags, when: 'some' as 'any' } }))).code).toBe(
      'INVALID_ARGUMENT',
    );

    const controller = new AbortController();
    const endless = program.run({ times: 1e12, stop: controller.signal });
    setTimeout(() => controller.abort(), 20);
    expect(await endless).toBeGreaterThan(0);
    expect(await program.run({ times: 5, stop: AbortSignal.abort() })).toBe(0);
  });

  it('see a flag that they set themselves', async () => {
    // Two sequences that end at different lengths; the search sets the flags.
    const each = (values: number[]) => device.tensor('int32', [2], Int32Array.from(values));
    const finished = each([0, 0]);
    const length = each([1, 1]);
    const state = {
      tokens: device.tensor('int32', [2, 16]),
      logProbability: device.tensor('float32', [2, 16]),
      length,
      position: each([0, 0]),
      begin: each([1, 1]),
      minimum: each([0, 0]),
      maximum: each([3, 7]),
      timestamps: each([0, 0]),
      finished,
    };
    const logits = device.tensor(
      'float32',
      [2, 8],
      Float32Array.from({ length: 16 }, (_, i) => i % 8),
    );
    const suppressed = device.tensor('uint8', [8]);
    using program = device.record('search', (ops) => ops.nextToken(logits, { suppressed, endToken: 0 }, state));
    const done = await program.run({ times: 50, until: { flags: finished, when: 'any' } });
    expect(done).toBeGreaterThanOrEqual(3);
    expect(done).toBeLessThanOrEqual(5); // a device may look late
    expect(Array.from(await length.toInt32Array())).toEqual([4, 1 + done]);
    // One flag is set already, so the run waits for another; a run for a single flag does nothing.
    const another = { flags: finished, when: 'another' } as const;
    expect(await program.run({ times: 50, until: { ...another, most: 1 } })).toBe(0);
    expect(await program.run({ times: 50, until: another })).toBeGreaterThanOrEqual(7 - done);
    expect(Array.from(await length.toInt32Array())).toEqual([4, 8]);
    expect(await program.run({ times: 50, until: another })).toBe(0);
  });

  it('write before, read after, and read the rows whose flag is set, in one job', async () => {
    const flags = device.tensor('int32', [3], Int32Array.from([0, 1, 1]));
    const x = device.tensor('float32', [3, 2]);
    const y = device.tensor('float32', [3, 2]);
    const names = device.tensor('int32', [3, 1], Int32Array.from([10, 11, 12]));
    using program = device.record('copy', (ops) => void ops.copy(x, { output: y }));
    const given = Float32Array.from([1, 2, 3, 4, 5, 6]);
    const run = program.submit({
      until: { flags, when: 'another' },
      writes: [[x, given]],
      reads: [[y, 1, 2]],
      rows: [y, names],
    });
    given.fill(0);
    const { times, reads, rows } = await run.done;
    expect(times).toBe(1);
    expect(Array.from(reads[0])).toEqual([2, 3]);
    expect(rows.map(([row, ...data]) => [row, ...data.map((one) => Array.from(one))])).toEqual([
      [1, [3, 4], [11]],
      [2, [5, 6], [12]],
    ]);
    // A job that is stopped before it begins still does its writes and reads.
    await program.run({ times: 1 });
    const stopped = program.submit({ times: 1e9, writes: [[x, given]], reads: [[x]] });
    stopped.stop();
    expect(Array.from((await stopped.done).reads[0])).toEqual(Array(6).fill(0));
    const wrong = device.tensor('int32', [2]);
    expect((await failure(() => program.run({ until: { flags, when: 'another', most: -1 } }))).code).toBe(
      'INVALID_ARGUMENT',
    );
    expect(() => program.submit({ until: flags, rows: [wrong] })).toThrowError(
      expect.objectContaining({ code: 'INVALID_SHAPE' }),
    );
    expect(() => program.submit({ rows: [wrong] })).toThrowError(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });

  it('refuse flags that are on another device, not contiguous or empty', async () => {
    const x = device.tensor('float32', [4]);
    using program = device.record('copy', (ops) => void ops.copy(x));
    using other = new Device(kind, { threads: 1 });
    const refused = (until: Tensor) => failure(() => program.run({ until }));
    expect(await refused(other.tensor('int32', [1]))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      operation: 'run',
      argument: 'until',
      received: 'a tensor of another device',
    });
    const flags = device.tensor('int32', [2, 4]);
    expect((await refused(flags.columns(0, 1))).received).toBe('a view of some columns');
    expect((await refused(device.tensor('int32', [0]))).code).toBe('INVALID_SHAPE');
    expect(await program.run({ until: flags.slice(1) })).toBe(1);
  });

  it('refuse outputs in memory that is read, except where that works', async () => {
    const memory = device.tensor('float32', [4 * 64 * 64]);
    const x = memory.part(0, [64, 64]);
    const weight = device.tensor('float32', [64, 64]);
    const ones = device.tensor('float32', [64]);
    const query = memory.part(0, [1, 64, 64]);
    const key = memory.part(2 * 64 * 64, [1, 64, 64]);
    const refused = (body: (ops: Operations) => void) => failure(() => device.record('overlapping', body));
    expect(await refused((ops) => void ops.linear(x, weight, { output: x }))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: 'linear: expected output to be in memory that no other argument uses but received memory that x uses.',
    });
    // Rows of other arguments, partly.
    const shifted = memory.part(64, [64, 64]);
    for (const body of [
      (ops: Operations) => ops.linear(x, weight, { residual: memory.part(2 * 64 * 64, [64, 64]), output: shifted }),
      (ops: Operations) => ops.transposeCast(query, { output: query }),
      (ops: Operations) => ops.copy(x, { output: shifted }),
      (ops: Operations) => ops.attention(query, key, key, { heads: 1, output: key }),
      (ops: Operations) => {
        const temporary = ops.linear(x, weight);
        ops.linear(temporary, weight, { output: temporary });
      },
    ]) {
      expect((await refused(body)).received).toMatch(/^memory that (x|key|value) uses$/);
    }
    using program = device.record('in place', (ops) => {
      ops.layerNorm(x, { weight: ones, bias: ones }, { output: x });
      ops.linear(shifted, weight, { residual: key.reshape([64, 64]), output: key.reshape([64, 64]) });
      ops.attention(query, key, key, { heads: 1, output: query });
    });
    expect(await program.run()).toBe(1);
  });

  it('refuse results of more elements than can be counted', async () => {
    const x = device.tensor('float32', [2 ** 21, 1]);
    const weight = device.tensor('float32', [2 ** 20, 1]);
    const error = await failure(() => device.record('large', (ops) => void ops.linear(x, weight)));
    expect(error.code).toBe('OUT_OF_MEMORY');
    expect(error.message).toContain('[2097152, 1048576]');
  });

  it('share one arena, and allocate nothing if an earlier program needed more', async () => {
    using fresh = new Device(kind, { threads: 2 });
    const megabytes = 10;
    const rows = (megabytes << 20) / 4 / 512;
    const x = fresh.tensor('float32', [rows, 512], new Float32Array(rows * 512).fill(1));
    const outputs = [0, 1, 2].map(() => fresh.tensor('float32', [rows, 512]));
    const weight = fresh.tensor('float32', [512], new Float32Array(512).fill(1));
    const bias = fresh.tensor('float32', [512], new Float32Array(512).fill(2));
    const programs = outputs.map((output, i) =>
      fresh.record(
        'large',
        (ops) => {
          const part = (tensor: Tensor) => (i < 2 ? tensor : tensor.slice(0).reshape([1, 512]));
          ops.layerNorm(ops.copy(part(x)), { weight, bias }, { output: part(output) });
        },
        { poison: true },
      ),
    );
    const { inUse } = fresh.memory();
    await programs[0].prepare();
    const { allocations } = fresh.memory();
    await Promise.all([programs[1].prepare(), programs[2].prepare()]);
    for (const program of programs) await program.run({ times: 2 });
    const memory = fresh.memory();
    expect(memory.allocations).toBe(allocations);
    expect(programs.map(({ arenaBytes }) => arenaBytes)).toEqual([megabytes << 20, megabytes << 20, 2048]);
    expect(memory.inUse - inUse).toBe(megabytes << 20);
    for (const output of outputs) expect((await output.toFloat32Array(0, 1))[0]).toBe(2);
  });

  it('keep the arena that they were prepared with when a later program needs a larger one', async () => {
    using fresh = new Device(kind, { threads: 1 });
    const chain = (columns: number) => {
      const x = fresh.tensor(
        'float32',
        [2, columns],
        Float32Array.from({ length: 2 * columns }, (_, i) => i % 7),
      );
      const output = fresh.tensor('float32', [2, columns]);
      const program = fresh.record('copies', (ops) => void ops.copy(ops.copy(ops.copy(x)), { output }), {
        poison: true,
      });
      return { program, x, output };
    };
    const all = [20, 5000, 300].map(chain);
    for (const { program } of all) await program.prepare();
    for (const { program } of [...all, ...all]) await program.run();
    for (const { x, output } of all) expect(await output.toFloat32Array()).toEqual(await x.toFloat32Array());
  });

  it('are traced operation by operation', async () => {
    const x = device.tensor('float32', [1, 64]);
    const weight = device.tensor('float32', [64, 64]);
    using program = device.record('traced', (ops) => {
      ops.scope('outer', () => ops.scope('inner', () => ops.linear(x, weight)));
    });
    const [time] = await program.trace(3);
    expect(time).toMatchObject({ name: 'linear', label: 'outer/inner' });
    expect(time.microseconds).toBeGreaterThan(0);
    expect(time).not.toHaveProperty('parts');
    expect(await program.time(3)).toBeGreaterThan(0);
  });

  it('report the stages of multi-head attention, whose times add up', async () => {
    const [query, key, value] = [0, 1, 2].map(() => device.tensor('float32', [1, 64, 128]));
    using program = device.record('stages', (ops) => {
      ops.attention(query, key, value, { heads: 2, algorithm: 'multi-head' });
      ops.attention(query, key, value, { heads: 2, algorithm: 'memory-efficient' });
    });
    const [multiHead, streaming] = await program.trace(3);
    expect(multiHead.parts?.map(({ name }) => name)).toEqual(['scores', 'softmax', 'values']);
    const sum = multiHead.parts!.reduce((total, { microseconds }) => total + microseconds, 0);
    expect(sum).toBeCloseTo(multiHead.microseconds, 6);
    expect(streaming).not.toHaveProperty('parts');
  });

  it('copy tensors of any type and shape', async () => {
    for (const dtype of ['float32', 'bfloat16', 'int32'] as const) {
      const data = dtype === 'int32' ? Int32Array.from({ length: 333 }, (_, i) => i) : new Float32Array(333).fill(0.5);
      const x = device.tensor(dtype, [3, 111], data);
      const output = device.tensor(dtype, [3, 111]);
      using program = device.record('copy', (ops) => void ops.copy(ops.copy(x), { output }));
      await program.run();
      expect(await output.toFloat32Array()).toEqual(await x.toFloat32Array());
    }
    const x = device.tensor('float32', [2, 8]);
    const refused = await failure(() => device.record('view', (ops) => void ops.copy(x.columns(0, 4))));
    expect(refused.message).toContain('copy: expected x to be contiguous');
  });
});

it('programs of a CPU still run after one that needed more scratch memory than there is', async () => {
  using device = new Device('cpu', { threads: 2 });
  const attend = (queries: number, keys: number) => {
    const query = device.tensor('float32', [1, queries, 16], new Float32Array(16 * queries).fill(1));
    const key = device.tensor('float32', [1, keys, 1]);
    const output = device.tensor('float32', [1, queries, 16]);
    const options = { heads: 16, keyValueHeads: 1, algorithm: 'multi-head', output } as const;
    return { key, output, program: device.record('attend', (ops) => void ops.attention(query, key, key, options)) };
  };
  const { key, output, program } = attend(2, 4);
  await key.write(new Float32Array(4).fill(3));
  await program.run();
  const large = await failure(() => attend(2 ** 16, 2 ** 24).program.prepare()); // 64 TiB of scores
  expect(large.code).toBe('OUT_OF_MEMORY');
  await output.write(new Float32Array(32));
  await program.run();
  expect(await output.toFloat32Array()).toEqual(new Float32Array(32).fill(3));
});
