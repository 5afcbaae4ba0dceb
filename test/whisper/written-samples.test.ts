/** The encoder's samples: only changed ones are written, and no window contains samples of an earlier one. */
import { describe, expect, it } from 'vitest';
import { WrittenSamples } from '../../lib/whisper/model/written-samples.js';
import { randomNumbers } from '../random.js';

const whole = 100;

describe('the encoder’s samples', () => {
  it('are those of the window, whatever was there before', () => {
    const random = randomNumbers(3);
    const tensor = new Float32Array(4 * whole);
    const written = new WrittenSamples();
    for (let round = 0; round < 300; ++round) {
      const length = random() < 0.5 ? whole : 40;
      const count = random() < 0.7 ? 1 : 1 + Math.floor(4 * random());
      const windows = Array.from({ length: count }, () => {
        const end = Math.floor(random() * (length + 1));
        const samples = Float32Array.from({ length }, (_, i) => (i < end ? 1 + random() : 0));
        return random() < 0.8 ? { samples, end } : { samples };
      });
      written.needed(windows, length).forEach((samples, i) => {
        tensor.set(samples, i * length);
      });
      windows.forEach(({ samples }, i) => {
        expect(tensor.subarray(i * length, (i + 1) * length)).toEqual(samples);
      });
      if (random() < 0.2) {
        const [filled, count] = random() < 0.5 ? [whole, whole] : [tensor.length, Number.POSITIVE_INFINITY];
        tensor.fill(2, 0, filled);
        written.filled(count);
      }
    }
  });

  it('are few for a short clip after a short clip', () => {
    const written = new WrittenSamples();
    const samples = new Float32Array(whole);
    const lengths = [20, 30, 10, 5].map((end) => written.needed([{ samples, end }], whole)[0].length);
    expect(lengths).toEqual([20, 30, 30, 10]);
  });

  it('are few for short clips that are encoded together', () => {
    const written = new WrittenSamples();
    const clip = (end: number) => ({ samples: new Float32Array(whole), end });
    const lengths = (ends: number[]) => written.needed(ends.map(clip), whole).map(({ length }) => length);
    expect(lengths([20, 30, 10])).toEqual([20, 30, 10]);
    expect(lengths([5, 5])).toEqual([20, 30]);
    expect(lengths([5, 5, 5])).toEqual([5, 5, 10]);
  });
});
