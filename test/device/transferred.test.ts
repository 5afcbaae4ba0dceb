/** Data whose buffer was transferred to a worker, or shrunk, is refused. It has no elements, so it would be ignored. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Device } from '../../lib/device/device.js';
import type { Tensor } from '../../lib/device/tensor.js';

function transferred(): Float32Array {
  const data = new Float32Array(4);
  structuredClone(data.buffer, { transfer: [data.buffer] });
  return data;
}

function shrunk(): Float32Array {
  const Resizable = ArrayBuffer as unknown as new (
    bytes: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer & { resize(bytes: number): void };
  const buffer = new Resizable(16, { maxByteLength: 16 });
  const data = new Float32Array(buffer, 8, 2);
  buffer.resize(4);
  return data;
}

describe.each([
  ['a transferred buffer', transferred],
  ['a shrunk buffer', shrunk],
])('data of %s', (_, make) => {
  let device: Device;
  let tensor: Tensor;
  beforeAll(() => {
    device = new Device('cpu', { threads: 1 });
    tensor = device.tensor('float32', [4]);
  });
  afterAll(() => device.close());
  it.each<[string, (data: Float32Array) => unknown]>([
    ['Tensor.write', (data) => tensor.write(data)],
    ['Device.tensor', (data) => device.tensor('float32', [4], data)],
    ['Device.transfer', (data) => device.transfer({ writes: [[tensor, data]] })],
  ])('is refused by %s', (_, call) => {
    expect(() => call(make())).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        message: expect.stringMatching(/still in memory but received Float32Array; .* pass a copy\.$/),
      }),
    );
  });
});

describe('data of other buffers', () => {
  it('is written from a shared one, and from bytes at an odd offset', async () => {
    using device = new Device('cpu', { threads: 1 });
    const floats = device.tensor('float32', [3]);
    const shared = new Float32Array(new SharedArrayBuffer(16), 4, 3);
    shared.set([1, 2, 3]);
    await floats.write(shared);
    expect([...(await floats.toFloat32Array())]).toEqual([1, 2, 3]);
    const bytes = device.tensor('uint8', [3]);
    await bytes.write(Buffer.from([9, 1, 2, 3, 9]).subarray(1, 4));
    const [read] = await device.transfer({ reads: [[bytes]] });
    expect([...read]).toEqual([1, 2, 3]);
    await floats.write(new Float32Array(0)); // nothing
    expect(() => floats.write(new DataView(new ArrayBuffer(12)) as never)).toThrow('a typed array');
  });
});
