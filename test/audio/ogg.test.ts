import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { oggChecksum } from '../../lib/audio/ogg.js';
import { decodedByFfmpeg, firstDifference, folder, hasFfmpeg, joined, ratio, readAll } from './support.js';

const fixture = (name: string) => readFileSync(folder + name);

/** Offsets of the pages, and of the end. */
function pages(bytes: Buffer): number[] {
  const found: number[] = [];
  for (let at = 0; ; ) {
    found.push(at);
    if (at >= bytes.length) return found;
    const segments = bytes.subarray(at + 27, at + 27 + bytes[at + 26]);
    at = segments.reduce((sum, length) => sum + length, at + 27 + segments.length);
  }
}

/**
 * The file again with at most `count` packets of `packetSamples` in each page, which makes small pages of large ones.
 */
function repaged(bytes: Buffer, count: number, packetSamples: number): Buffer {
  const places = pages(bytes);
  const made: Buffer[] = [];
  let sequence = 0;
  let granule = 0n;
  for (let i = 0; i + 1 < places.length; ++i) {
    const page = bytes.subarray(places[i], places[i + 1]);
    const table = page.subarray(27, 27 + page[26]);
    const ends = [...table.entries()].filter(([, length]) => length < 255).map(([at]) => at + 1);
    const end = page.readBigInt64LE(6);
    let [from, body] = [0, 27 + table.length];
    for (let first = 0; first < ends.length; first += count) {
      const to = ends[Math.min(first + count, ends.length) - 1];
      const part = table.subarray(from, to);
      const length = part.reduce((sum, size) => sum + size, 0);
      const small = Buffer.concat([page.subarray(0, 27), part, page.subarray(body, body + length)]);
      const last = to === ends.at(-1);
      small[5] = (from === 0 ? page[5] & 3 : 0) | (last ? page[5] & 4 : 0);
      small[26] = part.length;
      small.writeBigInt64LE(last ? end : granule + BigInt(packetSamples * (first + count)), 6);
      small.writeUInt32LE(sequence++, 18);
      small.writeUInt32LE(oggChecksum(small), 22);
      made.push(small);
      from = to;
      body += length;
    }
    if (end > 0n) granule = end;
  }
  return Buffer.concat(made);
}

describe('concatenated Ogg streams', () => {
  it.each([
    ['Vorbis of other channels and rates', ['tone.ogg', 'mono-22k.ogg', 'tone.ogg']],
    ['Opus of one channel and two', ['mono-16k.opus', 'tone.opus', 'mono-16k.opus']],
    ['FLAC and Opus', ['ogg-flac.oga', 'tone.opus']],
  ])('are read to the end: %s', async (_, files) => {
    const bytes = Buffer.concat(files.map(fixture));
    const { samples, warnings } = await readAll(bytes);
    const each = await Promise.all(files.map(async (file) => (await readAll(fixture(file))).samples));
    const expected = joined(each);
    expect(samples.length).toBe(expected.length);
    expect(ratio(samples, expected)).toBeGreaterThan(30);
    expect(warnings).toEqual([]);
    if (hasFfmpeg && !files[0].endsWith('oga')) {
      expect(Math.abs(samples.length - decodedByFfmpeg(bytes).length)).toBeLessThan(0.05 * 16000);
    }
  });
});

describe('damage in Ogg', () => {
  it.each([
    ['tone.opus', 5, 960],
    ['ogg-flac.oga', 1, 1152],
  ])('affects only its page of %s, and no times', async (file, count, packetSamples) => {
    const bytes = repaged(fixture(file), count, packetSamples);
    const whole = (await readAll(bytes)).samples;
    expect(firstDifference(whole, (await readAll(fixture(file))).samples)).toBe(-1);
    const places = pages(bytes);
    const [begin, end] = [places[6], places[7]];
    const hole = Buffer.concat([bytes.subarray(0, begin), bytes.subarray(end)]);
    const headless = Buffer.from(bytes).fill(0, begin, begin + 10);
    for (const damaged of [hole, headless]) {
      const { samples, incomplete, warnings } = await readAll(damaged);
      expect(samples.length).toBe(whole.length);
      expect(incomplete).toBe(true);
      expect(warnings).toEqual([expect.stringMatching(/damaged in one place at 0:00\.\d; 0\.\d+ s/)]);
      expect(ratio(samples.subarray(14_000), whole.subarray(14_000))).toBeGreaterThan(30);
    }
  });

  it('in one packet does not affect the others of its page', async () => {
    const bytes = fixture('ogg-flac.oga');
    const whole = (await readAll(bytes)).samples;
    const places = pages(bytes);
    bytes[places.at(-3)! + 2000] ^= 1;
    const { samples, incomplete } = await readAll(bytes);
    expect(samples.length).toBe(whole.length);
    expect(incomplete).toBe(true);
    const lost = samples.reduce((sum, sample, i) => sum + Number(sample !== whole[i]), 0);
    expect(lost).toBeLessThan(5000);
  });

  it('at the end gives a warning', async () => {
    for (const file of ['tone.opus', 'tone.ogg', 'ogg-flac.oga']) {
      const bytes = fixture(file);
      const { incomplete, warnings } = await readAll(bytes.subarray(0, bytes.length - 400)).catch(() => ({
        incomplete: true,
        warnings: ['refused'],
      }));
      expect([incomplete, warnings.length], file).toEqual([true, 1]);
    }
  });
});
