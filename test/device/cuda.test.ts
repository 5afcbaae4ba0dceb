import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { Device } from '../../lib/device/device.js';
import type { OneheadError } from '../../lib/errors.js';
import { cudaKind, gpu, hasCuda } from './devices.js';

function failure(body: () => unknown): OneheadError {
  try {
    body();
  } catch (error) {
    return error as OneheadError;
  }
  throw new Error('expected an error');
}

describe.runIf(hasCuda)('a CUDA device', () => {
  it.each(['cuda:x', 'cuda:', 'cuda:-1', 'cuda0'])('is not named %s', (kind) => {
    expect(failure(() => new Device(kind))).toMatchObject({ code: 'DEVICE_UNAVAILABLE' });
  });

  it('is refused by number if it does not exist', () => {
    const error = failure(() => new Device(`${cudaKind}:99`));
    expect(error.code).toBe('DEVICE_UNAVAILABLE');
    expect(error.message).toContain(`There is no device '${cudaKind}:99': the driver reports`);
  });

  it.skipIf(gpu || Device.information().cuda.available)('explains why there is none, and what to do', () => {
    const { code, message } = failure(() => new Device('cuda'));
    expect(code).toBe('DEVICE_UNAVAILABLE');
    expect(message).toMatch(/CUDA.*use 'cpu'/);
  });

  it.each([
    [24, 'supports head sizes from 16 to 128 in multiples of 16, not 24'],
    [256, 'from 16 to 128'],
  ])('refuses head size %i', (headSize, message) => {
    using device = new Device(cudaKind);
    const [query, key, value] = [0, 1, 2].map(() => device.tensor('float16', [1, 4, headSize]));
    const error = failure(() => device.record('odd', (ops) => void ops.attention(query, key, value, { heads: 1 })));
    expect(error.code).toBe('NOT_SUPPORTED');
    expect(error.message).toContain(message);
  });

  it('computes on two devices at once', async () => {
    const devices = [new Device(cudaKind), new Device(cudaKind)];
    const sums = devices.map(async (device, number) => {
      const x = device.tensor('float32', [1, 64], new Float32Array(64).fill(number + 1));
      const weight = device.tensor('float32', [8, 64], new Float32Array(512).fill(1));
      const output = device.tensor('float32', [1, 8]);
      using program = device.record('sum', (ops) => void ops.linear(x, weight, { output }));
      await program.run({ times: 20 });
      return Array.from(await output.toFloat32Array());
    });
    expect(await Promise.all(sums)).toEqual([Array(8).fill(64), Array(8).fill(128)]);
    for (const device of devices) device.close();
  });
});

/** Runs in a process whose emulated GPU has little memory, or a fault (native/cuda/emulation/runtime.cc). */
function inProcess(env: Record<string, string>, body: string) {
  const script = `
    import { Device, WhisperModel } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)};
    ${body}
  `;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 50_000,
  });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  return JSON.parse(stdout);
}

describe.runIf(hasCuda && !gpu)('a GPU that runs out of memory', () => {
  it('states the requested memory, frees what it had allocated, and continues to work', () => {
    const result = inProcess(
      { ONEHEAD_EMULATED_MEMORY: String(1 << 20) },
      `
      const device = new Device('cuda-emulated');
      const kept = device.tensor('float32', [1000], new Float32Array(1000).fill(3));
      const { inUse } = device.memory();
      let code, message;
      try { device.tensor('float32', [1 << 20]); } catch (error) { ({ code, message } = error); }
      const x = device.tensor('float32', [1, 4096]), weight = device.tensor('float32', [8, 4096]);
      let y;
      const program = device.record('large', (ops) => { y = ops.attention(
        device.tensor('float32', [1, 256, 64]), device.tensor('float32', [1, 256, 64]), device.tensor('float32', [1, 256, 64]),
        { heads: 1, algorithm: 'multi-head' }); ops.attention(y, y, y, { heads: 4, algorithm: 'multi-head' }); });
      const prepared = await program.run().then(() => 'ran', (error) => error.code);
      program.dispose();
      const sum = (await kept.toFloat32Array()).reduce((a, b) => a + b);
      console.log(JSON.stringify({ code, message, prepared, sum, inUse, device: device.memory() }));
      device.close();
      `,
    );
    expect(result.code).toBe('OUT_OF_MEMORY');
    expect(result.message).toMatch(/^The GPU could not allocate 4 MiB: 0 MiB of 1 MiB are free.*use a smaller/);
    expect(result.prepared).toBe('OUT_OF_MEMORY');
    expect(result.sum).toBe(3000);
    expect(result.inUse).toBe(4000);
  });

  it('prepares a program once there is memory for it, and has written what came with the runs before', () => {
    const result = inProcess(
      { ONEHEAD_EMULATED_MEMORY: String(1 << 20) },
      `
      const device = new Device('cuda-emulated');
      const x = device.tensor('float32', [1, 200, 16]), output = device.tensor('float32', [1, 200, 16]);
      const program = device.record('attention', (ops) => ops.attention(x, x, x, { heads: 1, algorithm: 'multi-head', output }));
      const blocker = device.tensor('float32', [220_000]);
      const data = new Float32Array(3200).fill(2);
      const codes = [];
      for (const writes of [[[x, data]], []]) {
        codes.push(await program.submit({ writes }).done.then(() => 'ran', ({ code }) => code));
      }
      blocker.dispose();
      await program.run();
      const outputs = [...new Set((await output.toFloat32Array()).map((value) => Math.round(1000 * value) / 1000))];
      console.log(JSON.stringify({ codes, outputs }));
      device.close();
      `,
    );
    expect(result).toEqual({ codes: ['OUT_OF_MEMORY', 'OUT_OF_MEMORY'], outputs: [2] });
  });

  it('refuses a model that does not fit, and says what to do', () => {
    const result = inProcess(
      { ONEHEAD_EMULATED_MEMORY: String(1 << 20) },
      `
      const error = await WhisperModel.load(undefined, { device: 'cuda-emulated' }).catch((error) => error);
      console.log(JSON.stringify({ code: error.code, message: error.message }));
      `,
    );
    expect(result.code).toBe('OUT_OF_MEMORY');
    expect(result.message).toContain('use a smaller model');
  });

  it('keeps the arena of earlier programs if a larger one does not fit', () => {
    const result = inProcess(
      { ONEHEAD_EMULATED_MEMORY: String(1 << 20) },
      `
      const device = new Device('cuda-emulated');
      const attend = (length) => {
        const x = device.tensor('float32', [1, length, 16], Float32Array.from({ length: length * 16 }, (_, i) => Math.sin(i)));
        const output = device.tensor('float32', [1, length, 16]);
        const program = device.record('attention', (ops) => ops.attention(x, x, x, { heads: 1, algorithm: 'multi-head', output }));
        return { program, read: async () => [...(await output.toFloat32Array())] };
      };
      const small = attend(20), large = attend(600);
      await small.program.run();
      const before = await small.read();
      const error = await large.program.run().then(() => 'ran', ({ code }) => code);
      await small.program.run();
      console.log(JSON.stringify({ error, before, after: await small.read() }));
      device.close();
      `,
    );
    expect(result.error).toBe('OUT_OF_MEMORY');
    expect(result.after).toEqual(result.before);
  });
});

describe.runIf(hasCuda && !gpu)('a GPU that others in the process use too', () => {
  it('launches kernels one by one if every capture of a graph is invalidated, and refuses to trace them', () => {
    const result = inProcess(
      { ONEHEAD_EMULATED_FAULT: 'disturbed captures' },
      `
      const device = new Device('cuda-emulated');
      const x = device.tensor('float32', [1, 4]), one = device.tensor('float32', [1, 4], new Float32Array(4).fill(1));
      const identity = device.tensor('float32', [4, 4], Float32Array.from({ length: 16 }, (_, i) => Number(i % 5 === 0)));
      const program = device.record('count', (ops) => ops.linear(one, identity, { residual: x, output: x }));
      const times = [await program.run({ times: 3 }), await program.run({ times: 4 })];
      const traced = await program.trace().catch(({ code, message }) => ({ code, message }));
      console.log(JSON.stringify({ times, x: [...(await x.toFloat32Array())], traced }));
      device.close();
      `,
    );
    expect(result).toMatchObject({ times: [3, 4], x: [7, 7, 7, 7], traced: { code: 'DEVICE_FAILED' } });
    expect(result.traced.message).toContain("recording program 'count': every capture of its graph was invalidated");
  });

  it('frees the memory of a closed device, although its tensors still exist', () => {
    const result = inProcess(
      { ONEHEAD_EMULATED_MEMORY: String(1 << 20) },
      `
      const left = [];
      for (let i = 0; i < 3; ++i) {
        const device = new Device('cuda-emulated');
        left.push(device.tensor('float32', [200_000]));
        device.close();
      }
      console.log(JSON.stringify(left.length));
      `,
    );
    expect(result).toBe(3);
  });
});

describe.runIf(hasCuda && !gpu)('a GPU that cannot be used', () => {
  it.each([
    ['no driver', 'no NVIDIA driver was found'],
    ['old driver', 'driver is too old for this addon; CUDA 13 requires driver 580 or newer'],
    ['no device', 'the driver reports no GPU'],
    ['other architecture', 'has no kernels for its architecture; it needs compute capability 8.0'],
  ])('because of %s is explained, with what to do, and the CPU still works', (fault, message) => {
    const result = inProcess(
      { ONEHEAD_EMULATED_FAULT: fault },
      `
      let error;
      try { new Device('cuda-emulated'); } catch ({ code, message }) { error = { code, message }; }
      const cpu = new Device('cpu');
      console.log(JSON.stringify({ ...error, sum: (await cpu.tensor('float32', [2]).toFloat32Array()).length }));
      cpu.close();
      `,
    );
    expect(result).toMatchObject({ code: 'DEVICE_UNAVAILABLE', sum: 2 });
    expect(result.message).toContain(message);
    expect(result.message).toMatch(/run `onehead doctor` for details, or use 'cpu'\.$/);
  });

  it('because of a failed kernel rejects running and later calls, and can be closed', () => {
    const result = inProcess(
      {},
      `
      const device = new Device('cuda-emulated');
      const x = device.tensor('float32', [1, 64]), output = device.tensor('float32', [1, 64]);
      const program = device.record('copy', (ops) => ops.copy(x, { output }));
      await program.run();
      process.env.ONEHEAD_EMULATED_FAULT = 'kernel failure';
      const failed = await program.run().catch(({ code, message }) => ({ code, message }));
      delete process.env.ONEHEAD_EMULATED_FAULT;
      const next = await program.run().then(() => 'ran', ({ code }) => code);
      device.close();
      console.log(JSON.stringify({ ...failed, next }));
      `,
    );
    expect(result).toMatchObject({ code: 'DEVICE_FAILED', next: 'DEVICE_FAILED' });
    expect(result.message).toMatch(/^The GPU failed while running program 'copy': .*Close this device/);
  });
});
