/**
 * Conversion of weights from a file: all 16-bit numbers, with every instruction set of this CPU.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Device, WeightsFile } from '../../lib/device/device.js';
import { stored } from './reference.js';

/** The number with these bits of a float16. */
function half(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const magnitude = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}
const word = (bits: number) => new Float32Array(Uint32Array.of(bits).buffer)[0];
const all = Array.from({ length: 65536 }, (_, bits) => bits);
/** The bits in the file, and the numbers. Infinities and NaN are left out, since they are refused. */
const sources = {
  float16: { bits: Uint16Array.from(all.filter((bits) => ((bits >> 10) & 31) !== 31)), value: half },
  bfloat16: {
    bits: Uint16Array.from(all.filter((bits) => ((bits >> 7) & 255) !== 255)),
    value: (bits: number) => word(bits << 16),
  },
  // Values halfway between two bfloat16 numbers, and next to that.
  float32: {
    bits: Uint32Array.from(
      all.filter((bits) => ((bits >> 7) & 255) < 254),
      (bits) => ((bits << 16) | [0x8000, 0x7fff, 0x8001][bits % 3]) >>> 0,
    ),
    value: word,
  },
};

it.each(Device.information().cpu.available)('are unchanged, or rounded to nearest, on %s', async (kernels) => {
  const folder = mkdtempSync(join(tmpdir(), 'onehead-load-'));
  using device = new Device('cpu', { kernels, threads: 1 });
  try {
    for (const [dtype, { bits, value }] of Object.entries(sources)) {
      writeFileSync(join(folder, dtype), bits);
      const file = new WeightsFile(join(folder, dtype));
      try {
        for (const elements of [1, 5, 16, 61, bits.length]) {
          const offset = (bits.length - elements) * bits.BYTES_PER_ELEMENT;
          const part = { file, offset, dtype: dtype as 'float16', elements, name: 'weight' };
          const wanted = Float32Array.from(bits.subarray(bits.length - elements), value);
          for (const to of ['float32', 'bfloat16'] as const) {
            using tensor = await device.load(to, [elements], [part]);
            const actual = await tensor.toFloat32Array();
            const expected = stored(wanted, to);
            expect(actual.findIndex((one, i) => !Object.is(one, expected[i]))).toBe(-1);
          }
        }
      } finally {
        file.close();
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
