import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Device, WeightsFile } from '../../lib/device/device.js';
import { type NativeTensor, nativeOf } from '../../lib/device/native.js';
import type { Tensor } from '../../lib/device/tensor.js';
import type { OneheadError } from '../../lib/errors.js';
import { kinds } from './devices.js';
import { failure } from './failure.js';

describe.each(kinds)('the device %s', (kind) => {
  let device: Device;
  beforeAll(() => {
    device = new Device(kind, { threads: 2 });
  });
  afterAll(() => device.close());

  describe('tensors', () => {
    it('have zeros, or their initial values, in each type', async () => {
      expect(Array.from(await device.tensor('float32', [2, 2]).toFloat32Array())).toEqual([0, 0, 0, 0]);
      const halves = device.tensor('float16', [3], Float32Array.from([1, -0.5, 65504]));
      expect(Array.from(await halves.toFloat32Array())).toEqual([1, -0.5, 65504]);
      const brain = device.tensor('bfloat16', [2], Float32Array.from([1.00390625, 3]));
      expect(Array.from(await brain.toFloat32Array())).toEqual([1, 3]); // 1 + 2^-8 rounds to even
      const numbers = device.tensor('int32', [2], Int32Array.from([-7, 2 ** 31 - 1]));
      expect(Array.from(await numbers.toInt32Array())).toEqual([-7, 2 ** 31 - 1]);
    });

    it('are written in part, and the array may be changed afterwards', async () => {
      const tensor = device.tensor('float32', [4]);
      const data = Float32Array.from([5, 6]);
      const written = tensor.write(data, 1);
      data.fill(9);
      await written;
      expect(Array.from(await tensor.toFloat32Array())).toEqual([0, 5, 6, 0]);
      const shared = new Float32Array(new SharedArrayBuffer(12), 4);
      shared.fill(8);
      await tensor.write(shared, 2);
      expect(Array.from(await tensor.toFloat32Array())).toEqual([0, 5, 8, 8]);
    });

    it('count in the device’s memory until they are disposed', () => {
      const { inUse: before, allocations } = device.memory();
      const tensor = device.tensor('float32', [1024]);
      expect(device.memory().inUse - before).toBe(4096);
      expect(device.memory().allocations).toBe(allocations + 1);
      tensor.dispose();
      tensor.dispose();
      expect(device.memory().inUse).toBe(before);
      expect(tensor.disposed).toBe(true);
    });

    it('are written and read in many pieces at once, in order', async () => {
      const floats = device.tensor('bfloat16', [2, 4]);
      const numbers = device.tensor('int32', [6]);
      const bytes = device.tensor('uint8', [3]);
      const long = device.tensor('float32', [3 << 20]); // more than goes at once
      const ramp = Float32Array.from({ length: 3 << 20 }, (_, i) => i % 1000);
      const data = Int32Array.from([7, 8]);
      const done = device.transfer({
        writes: [
          [numbers, Int32Array.from([1, 2, 3, 4, 5, 6])],
          [numbers, data, 2],
          [floats, Float32Array.from([0.5, -1]), 3],
          [bytes, new Uint8Array(0), 3],
          [long, ramp],
          [bytes, Uint8Array.from([9])],
        ],
        reads: [[numbers], [numbers, 1, 2], [floats, 2, 3], [bytes], [bytes, 3], [long]],
      });
      data.fill(0);
      const [all, some, half, small, none, far] = await done;
      expect(all).toEqual(Int32Array.from([1, 2, 7, 8, 5, 6]));
      expect(some).toEqual(Int32Array.from([2, 7]));
      expect(half).toEqual(Float32Array.from([0, 0.5, -1]));
      expect(small).toEqual(Uint8Array.from([9, 0, 0]));
      expect(none).toEqual(new Uint8Array(0));
      expect(Buffer.compare(Buffer.from(far.buffer), Buffer.from(ramp.buffer))).toBe(0);
      expect(await device.transfer({})).toEqual([]);

      const refused = (pieces: Parameters<Device['transfer']>[0]) => failure(() => device.transfer(pieces));
      expect((await refused({ writes: [[numbers, new Int32Array(2), 5]] })).code).toBe('INVALID_SHAPE');
      expect((await refused({ writes: [[numbers, new Float32Array(2)]] })).code).toBe('INVALID_DTYPE');
      expect((await refused({ reads: [[numbers, 5, 2]] })).code).toBe('INVALID_SHAPE');
      using other = new Device(kind, { threads: 1 });
      const error = await refused({ writes: [[other.tensor('int32', [1]), new Int32Array(1)]] });
      expect(error).toMatchObject({ operation: 'transfer', received: 'a tensor of another device' });
      expect(await failure(() => device.copy(numbers, other.tensor('int32', [1]), { count: 1 }))).toMatchObject({
        operation: 'copy',
        argument: 'to',
        received: 'a tensor of another device',
      });
      numbers.dispose();
      expect((await refused({ reads: [[numbers, 0, 1]] })).code).toBe('DISPOSED');
    });

    it('are known by what they are, whatever their prototype is', async () => {
      const other = new (nativeOf(kind).Device)(kind, { threads: 1 });
      const tensor = device.tensor('float32', [2]);
      const disguised = Object.setPrototypeOf(other, Object.getPrototypeOf(tensor.native)) as NativeTensor;
      const notTensor = { code: 'INVALID_ARGUMENT', message: expect.stringContaining('to be a Tensor') };
      const asTensor = { native: disguised, size: 2 } as Tensor;
      expect(await failure(() => device.copy(asTensor, tensor))).toMatchObject(notTensor);
      expect(await failure(() => device.transfer({ reads: [[asTensor, 0, 1]] }))).toMatchObject(notTensor);
      expect(() => disguised.shape).toThrow(TypeError);
      expect(() => disguised.disposed).toThrow(TypeError);
      expect(() => disguised.read(0, 1)).toThrow(TypeError);
      // A tensor stays one.
      Object.setPrototypeOf(tensor.native, null);
      expect((await device.transfer({ reads: [[tensor, 0, 2]] }))[0]).toEqual(new Float32Array(2));
      Object.setPrototypeOf(other, nativeOf(kind).Device.prototype);
      other.close();
    });

    it('refuse use after disposal, invalid ranges and types, each in a sentence', async () => {
      const gone = device.tensor('float32', [2]);
      gone.dispose();
      expect((await failure(() => gone.toFloat32Array())).code).toBe('DISPOSED');
      const tensor = device.tensor('float32', [2]);
      expect((await failure(() => tensor.write(new Float32Array(3)))).code).toBe('INVALID_SHAPE');
      expect((await failure(() => tensor.write(new Float32Array(1), 2))).code).toBe('INVALID_SHAPE');
      expect((await failure(() => tensor.write(new Int32Array(2)))).code).toBe('INVALID_DTYPE');
      expect((await failure(() => tensor.toFloat32Array(1, 2))).code).toBe('INVALID_SHAPE');
      expect((await failure(() => tensor.columns(1, 2))).code).toBe('INVALID_SHAPE');
      expect((await failure(() => tensor.slice(0))).code).toBe('INVALID_SHAPE');
      expect((await failure(() => device.tensor('float32', [-1]))).code).toBe('INVALID_ARGUMENT');
      expect((await failure(() => device.tensor('float8' as 'float32', [1]))).code).toBe('INVALID_ARGUMENT');
      expect((await failure(() => device.tensor('float32', [2 ** 40]))).code).toBe('OUT_OF_MEMORY');
      const detached = new Float32Array(2);
      structuredClone(detached.buffer, { transfer: [detached.buffer] });
      const hostile = {
        get constructor() {
          throw new Error('not this one');
        },
      };
      for (const [value, received] of [
        [Symbol('size'), 'a symbol'],
        [hostile, 'an object'],
        [detached, 'Float32Array'],
        ['ä'.repeat(80), `'${'ä'.repeat(50)} ...'`],
        [null, 'null'],
      ]) {
        const { code, message } = await failure(() => device.tensor('float32', value as never));
        expect(code).toBe('INVALID_ARGUMENT');
        expect(message).toBe(`Expected shape to be an array of sizes but received ${String(received)}.`);
      }
      expect((await failure(() => tensor.write([1, 'two'] as never))).message).toBe(
        "write: expected the data to be a typed array but received [1, 'two'].",
      );
      expect((await failure(() => device.copy(tensor, { native: {} } as Tensor, { count: 1 }))).message).toBe(
        'copy: expected to to be a Tensor but received an object.',
      );
    });
  });

  describe('devices', () => {
    it('refuse unknown names, thread counts and kernels', async () => {
      expect((await failure(() => new Device('tpu'))).code).toBe('DEVICE_UNAVAILABLE');
      expect((await failure(() => new Device('cpu', { threads: 0 }))).code).toBe('INVALID_ARGUMENT');
      expect((await failure(() => new Device('cpu', { kernels: 'sse9' }))).code).toBe('INVALID_ARGUMENT');
    });

    it('reject waiting and later calls when they are closed', async () => {
      const closing = new Device(kind, { threads: 1 });
      const x = closing.tensor('float32', [1, 512]);
      const weight = closing.tensor('float32', [512, 512]);
      const program = closing.record('loop', (ops) => void ops.linear(x, weight));
      const waiting = Promise.allSettled([program.run({ times: 1e12 }), program.run()]);
      setTimeout(() => closing.close(), 20);
      const [, second] = await waiting;
      expect(second).toMatchObject({ status: 'rejected', reason: { code: 'DISPOSED' } });
      expect((await failure(() => program.run())).code).toBe('DISPOSED');
      expect((await failure(() => closing.tensor('float32', [1]))).code).toBe('DISPOSED');
    });

    it('refuse constants that are not finite in their storage type', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'onehead-weights-'));
      const path = join(folder, 'weights');
      /** The error for a million numbers that contain this one. */
      const loadedOrMessage = async (
        stored: 'float32' | 'float16' | 'bfloat16',
        bits: number,
        dtype: typeof stored,
      ) => {
        const data = stored === 'float32' ? new Uint32Array(1e6) : new Uint16Array(1e6);
        data[765_432] = bits;
        writeFileSync(path, data);
        using file = new WeightsFile(path);
        const parts = [{ file, offset: 0, dtype: stored, elements: 1e6, name: 'encoder.weight' }];
        const loaded = await device.load(dtype, [1e6], parts);
        return loaded.toFloat32Array().then(
          (values) => values[765_432],
          ({ code, message }: OneheadError) => `${code} ${message.replace(path, '')}`,
        );
      };
      const nan =
        "MODEL_INVALID : element 765432 of tensor 'encoder.weight' is not a number: the checkpoint is damaged;";
      const infinite = nan.replace('not a number', 'infinite');
      for (const kept of kind === 'cpu' ? (['float32', 'bfloat16'] as const) : (['float32', 'float16'] as const)) {
        expect(await loadedOrMessage('float32', 0x7fc00000, kept)).toContain(nan);
        expect(await loadedOrMessage('float32', 0xff800000, kept)).toContain(infinite);
        expect(await loadedOrMessage('float16', 0xfe00, kept)).toContain(nan);
        expect(await loadedOrMessage('float16', 0x7c00, kept)).toContain(infinite);
        expect(await loadedOrMessage('bfloat16', 0x7f81, kept)).toContain(nan);
        expect(await loadedOrMessage('bfloat16', 0x7f80, kept)).toContain(infinite);
        expect(await loadedOrMessage('float16', 0xfbff, kept)).toBe(kept === 'bfloat16' ? -65536 : -65504);
      }
      expect(await loadedOrMessage('float32', 0x7f7fffff, 'float32')).toBeCloseTo(3.4028235e38, -32);
      const [narrow, smallest, largest] =
        kind === 'cpu'
          ? (['bfloat16', 0x7f7f8000, 0x7f7f7fff] as const)
          : (['float16', 0x477ff000, 0x477fefff] as const);
      expect(await loadedOrMessage('float32', smallest, narrow)).toContain(
        `which ${narrow} cannot represent; load the model with dtype 'float32'`,
      );
      expect(await loadedOrMessage('float32', largest, narrow)).toBeGreaterThan(6e4);
      rmSync(folder, { recursive: true });
    });

    it('report a file of weights that was truncated after it was opened', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'onehead-weights-'));
      const path = join(folder, 'weights');
      writeFileSync(path, new Float32Array(1e6));
      using file = new WeightsFile(path);
      const loaded = await device.load('float32', [1e6], [{ file, offset: 0, dtype: 'float32', elements: 1e6 }]);
      truncateSync(path, 3_000_001);
      const { code, message } = await failure(() => loaded.toFloat32Array());
      expect(code).toBe('MODEL_INVALID');
      expect(message).toBe(
        `${path} ended at byte 3000001 while it was read: it is incomplete; download or export it again.`,
      );
      rmSync(folder, { recursive: true });
    });

    it('load constants from files only within their bounds', async () => {
      using file = new WeightsFile(new URL('../../models/micro/model.safetensors', import.meta.url).pathname);
      const part = { file, offset: file.size - 4, dtype: 'float16' as const };
      expect((await failure(() => device.load('float32', [3], [{ ...part, elements: 3 }]))).code).toBe('MODEL_INVALID');
      expect((await failure(() => device.load('float32', [3], [{ ...part, elements: 2 }]))).code).toBe('INVALID_SHAPE');
      const loaded = await device.load('float32', [3], [{ ...part, elements: 2 }, { elements: 1 }]);
      expect((await loaded.toFloat32Array())[2]).toBe(0);
      expect((await failure(() => new WeightsFile('/nowhere'))).code).toBe('MODEL_INVALID');
      expect((await failure(() => new WeightsFile(`${file.path}\0.part`))).code).toBe('INVALID_ARGUMENT');
      const folder = mkdtempSync(join(tmpdir(), 'onehead-weights-'));
      spawnSync('mkfifo', [join(folder, 'pipe')]);
      for (const path of [folder, join(folder, 'pipe')]) {
        expect((await failure(() => new WeightsFile(path))).message).toContain(`${path} to be a file of weights`);
      }
      rmSync(folder, { recursive: true });
      expect((await failure(() => device.load('float32', [3], [{ ...part, elements: 3 }]))).message).toContain(
        file.path,
      );
    });
  });
});

/** Loads the bundled model and decodes, in a script that uses the compiled package, as a worker or process would. */
const script = (ending: string) => `
  import { WhisperModel } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)};
  const model = await WhisperModel.load(undefined, { threads: 1 });
  const features = await model.features(new Float32Array(16000));
  const encoded = await model.encode(features);
  ${ending}
`;

describe('environments', () => {
  it('several workers decode at once, and may end during work', async () => {
    const workers = Array.from({ length: 3 }, (_, index) => {
      const ending =
        index === 0
          ? "for (;;) await model.generate(encoded, { language: 'en', minNewTokens: 100, maxNewTokens: 100 });"
          : "const [tokens] = await model.generate(encoded, { language: 'en', minNewTokens: 9, maxNewTokens: 9 }); (await import('node:worker_threads')).parentPort.postMessage(tokens.length);";
      return new Worker(new URL(`data:text/javascript,${encodeURIComponent(script(ending))}`));
    });
    const lengths = await Promise.all(
      workers.slice(1).map(
        (worker) =>
          new Promise((resolve, reject) => {
            worker.once('message', resolve);
            worker.once('error', reject);
          }),
      ),
    );
    expect(lengths).toEqual([9, 9]);
    await Promise.all(workers.map((worker) => worker.terminate()));
  });

  it('a process whose device could not start its thread ends by itself', () => {
    const limited = `
      import { execFileSync } from 'node:child_process';
      import { readFileSync } from 'node:fs';
      import { Device } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)};
      Device.cpu();
      const kilobytes = Number(/VmSize:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
      execFileSync('prlimit', ['--pid', String(process.pid), '--as=' + (kilobytes + 7000) * 1024]); // a stack takes 8 MiB
      try {
        new Device('cpu');
      } catch ({ code }) {
        console.log(code);
      }
    `;
    const result = spawnSync(process.execPath, ['--input-type=module', '-e', limited], {
      encoding: 'utf8',
      timeout: 30_000,
    });
    expect(result.stdout).toBe('DEVICE_FAILED\n');
    expect(result.status).toBe(0);
  });

  it('a closed device of a CPU has no threads', async () => {
    const threads = () =>
      readdirSync('/proc/self/task')
        .map((thread) => readFileSync(`/proc/self/task/${thread}/comm`, 'utf8'))
        .filter((name) => name.startsWith('onehead-cpu')).length;
    const before = threads();
    const device = new Device('cpu', { threads: 9 });
    await device.tensor('float32', [1]).toFloat32Array();
    expect(threads()).toBe(before + 8);
    device.close();
    expect(threads()).toBe(before);
  });

  it.each([
    [
      'leaves at once',
      "model.generate(encoded, { language: 'en', minNewTokens: 100, maxNewTokens: 100 }); process.exit(7);",
      7,
    ],
    ['ends by itself when its work is done', '', 0],
  ])('a process that %s does not crash', (_, ending, status) => {
    const result = spawnSync(process.execPath, ['--input-type=module', '-e', script(ending)], {
      encoding: 'utf8',
      timeout: 30_000,
    });
    expect(result.stderr).toBe('');
    expect(result.status).toBe(status);
  });
});
