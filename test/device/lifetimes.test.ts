/** Devices are opened and closed while others record: all devices of one GPU share the driver's context. */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { Device } from '../../lib/device/device.js';
import { cudaKind, hasCuda, kinds } from './devices.js';

/** A product with too many rows for our kernels of few rows; cuBLASLt computes it if it is available. */
function product(device: Device, factor: number) {
  const [rows, depth, columns] = [65, 16, 8];
  const x = device.tensor('float32', [rows, depth], new Float32Array(rows * depth).fill(1));
  const weight = device.tensor('float32', [columns, depth], new Float32Array(columns * depth).fill(factor));
  const output = device.tensor('float32', [rows, columns]);
  const program = device.record('product', (ops) => void ops.linear(x, weight, { output }));
  return { program, output, wanted: depth * factor };
}

describe.runIf(hasCuda)('devices of one GPU', () => {
  it('open, work and close a thousand times while others record, with objects left undisposed', () => {
    const script = `
      import { setTimeout } from 'node:timers/promises';
      import { Device } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)};
      const kind = ${JSON.stringify(cudaKind)};
      const product = ${product.toString()};
      const check = async ({ output, wanted }) => {
        if ((await output.toFloat32Array()).some((value) => value !== wanted)) throw new Error('a wrong result');
      };
      const recorders = [new Device(kind), new Device(kind, { cublasLt: false })];
      let done = false, recorded = 0;
      const recording = recorders.map(async (device, number) => {
        for (let i = 0; !done; ++i, ++recorded) {
          const made = product(device, number + 1);
          await made.program.run({ times: 3 }); // the first replay is no graph
          await check(made);
          if (i % 2) made.program.dispose(); // other programs, and all tensors, are left to the collector
          await setTimeout(1);
        }
      });
      for (let i = 0; i < 1000; ++i) {
        // Fewer with cuBLASLt: its workspace takes 32 MiB, and clearing emulated memory is slow.
        const device = new Device(kind, { cublasLt: i % 8 === 0 });
        const made = product(device, i % 7);
        await made.program.run({ times: 2 });
        if (i % 10 === 0) await check(made);
        device.close();
        if (i % 20 === 0) gc();
      }
      done = true;
      await Promise.all(recording);
      for (const device of recorders) device.close();
      gc();
      console.log(recorded > 10);
    `;
    const options = ['--expose-gc', '--input-type=module', '-e', script];
    const { stdout, stderr, status } = spawnSync(process.execPath, options, { encoding: 'utf8', timeout: 170_000 });
    expect(stderr).toBe(''); // the emulation tells of captures that were disturbed
    expect(stdout).toBe('true\n');
    expect(status).toBe(0);
  }, 180_000);
});

describe.each(kinds)('a closed %s device', (kind) => {
  it('rejects the run that it cuts short, as those that wait', async () => {
    const device = new Device(kind, kind === 'cpu' ? { threads: 1 } : {});
    const { program } = product(device, 1);
    await program.run();
    const run = program.run({ times: 2 ** 40 });
    const waiting = program.run();
    await new Promise((resolve) => setTimeout(resolve, 20));
    device.close();
    for (const promise of [run, waiting]) {
      await expect(promise).rejects.toMatchObject({ code: 'DISPOSED', message: expect.stringContaining('was closed') });
    }
  });

  it('refuses work, and its tensors and programs may be released in any order', async () => {
    const device = new Device(kind);
    const { program, output } = product(device, 2);
    const { program: never } = product(device, 3); // was never run
    await program.run({ times: 2 });
    device.close();
    expect(() => device.tensor('float32', [4])).toThrow('This device has been closed');
    await expect(output.toFloat32Array()).rejects.toMatchObject({ code: 'DISPOSED' });
    await expect(program.run()).rejects.toMatchObject({ code: 'DISPOSED' });
    if (kind !== 'cpu') expect(device.memory().inUse).toBe(0);
    output.dispose();
    never.dispose();
    program.dispose();
    device.close();
  });
});
