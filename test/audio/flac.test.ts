import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { crc16, flacHeader, positionCheck } from '../../lib/audio/flac-frames.js';
import { firstDifference, folder, joined, readAll } from './support.js';

const speech = readFileSync(new URL('../../models/micro/sample.flac', import.meta.url));
const tone = readFileSync(`${folder}tone.flac`);
const whole = (await readAll(speech)).samples;

/** Offsets of the frames. */
function frames(bytes: Uint8Array): number[] {
  const places: number[] = [];
  for (let at = 0; at < bytes.length; ++at) if (flacHeader(bytes, at)) places.push(at);
  return places;
}

/** Number of samples that differ from the undamaged recording. */
const different = (samples: Float32Array) => samples.reduce((sum, sample, i) => sum + Number(sample !== whole[i]), 0);

describe('damage in FLAC affects only its frames, and no times:', () => {
  const places = frames(speech);
  const blockSize = flacHeader(speech, places[1])!.blockSize;

  it('one flipped bit, in a frame or in its header', async () => {
    for (const offset of [places[1] + 1, places[2], places[3] + 4, places[4] + 100, places[6] - 1]) {
      const bytes = Buffer.from(speech);
      bytes[offset] ^= 1;
      const { samples, warnings, incomplete } = await readAll(bytes);
      expect(samples.length, `${offset}`).toBe(whole.length);
      expect(different(samples)).toBeLessThanOrEqual(blockSize);
      expect(incomplete).toBe(true);
      expect(warnings).toEqual([expect.stringMatching(/damaged in one place at 0:0\d\.\d; 0\.\d+ s/)]);
    }
  });

  it('a gap: bytes removed or overwritten', async () => {
    const [begin, length] = [Math.floor(speech.length * 0.4), Math.floor(speech.length * 0.05)];
    const other = Buffer.from(speech);
    for (let i = 0; i < length; ++i) other[begin + i] = Math.imul(i, 2654435761) >>> 24;
    const cut = Buffer.concat([speech.subarray(0, begin), speech.subarray(begin + length)]);
    for (const bytes of [cut, other, Buffer.from(speech).fill(0, begin, begin + length)]) {
      const { samples, incomplete } = await readAll(bytes);
      expect(samples.length).toBe(whole.length);
      expect(different(samples)).toBeLessThan(whole.length * 0.05 + 3 * blockSize);
      expect(incomplete).toBe(true);
    }
  });

  it('a missing end gives a warning', async () => {
    const { samples, warnings, incomplete } = await readAll(speech.subarray(0, places[5] + 10));
    expect(samples.length).toBe(5 * blockSize);
    expect(firstDifference(samples, whole.subarray(0, samples.length))).toBe(-1);
    expect(incomplete).toBe(true);
    expect(warnings).toEqual([expect.stringMatching(/could not be read from 0:0\d\.\d on.*its end is missing/)]);
  });

  it('junk between frames and after the last one is skipped', async () => {
    const junk = Buffer.alloc(3000, 0x55);
    const bytes = Buffer.concat([speech.subarray(0, places[3]), junk, speech.subarray(places[3]), junk]);
    const { samples, incomplete } = await readAll(bytes);
    expect(firstDifference(samples, whole)).toBe(-1);
    expect(incomplete).toBe(false);
  });
});

it('reads concatenated FLAC files with other rates and channels', async () => {
  const both = await readAll(Buffer.concat([speech, tone, speech]));
  const [first, second] = [whole, (await readAll(tone)).samples];
  expect(firstDifference(both.samples, joined([first, second, first]))).toBe(-1);
  expect(both.warnings).toEqual([]);
});

it('finds byte ranges whose checksum is zero', () => {
  const [begin, end] = frames(speech);
  expect(crc16(speech, begin, end)).toBe(0);
  expect(positionCheck(crc16(speech, 0, begin), begin)).toBe(positionCheck(crc16(speech, 0, end), end));
  expect(positionCheck(crc16(speech, 0, begin + 99), begin + 99)).not.toBe(
    positionCheck(crc16(speech, 0, begin), begin),
  );
});
