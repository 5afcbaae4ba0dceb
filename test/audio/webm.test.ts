import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decodedByFfmpeg, firstDifference, folder, hasFfmpeg, ratio, readAll } from './support.js';

const tone = readFileSync(`${folder}tone.webm`);
const whole = (await readAll(tone)).samples;

/** Offsets of SimpleBlocks of track 1. */
function blocks(bytes: Buffer): number[] {
  const found: number[] = [];
  for (let at = bytes.indexOf(Buffer.from([0x1f, 0x43, 0xb6, 0x75])); at < bytes.length; ++at) {
    if (bytes[at] !== 0xa3) continue;
    const length = bytes[at + 1] >= 128 ? 1 : 2;
    const size = length === 1 ? bytes[at + 1] & 127 : ((bytes[at + 1] & 63) << 8) | bytes[at + 2];
    if (bytes[at + 1 + length] !== 0x81 || bytes[at + 4 + length] !== 0x80) continue;
    found.push(at);
    at += length + size;
  }
  return found;
}

describe('damage in WebM affects only its blocks, and no times:', () => {
  const places = blocks(tone);
  const [begin, end] = [places[20], places[25]];
  const inside = begin + 40;
  const damaged: [string, Buffer][] = [
    ['a block’s name', Buffer.from(tone).fill(0, begin, begin + 1)],
    ['a block’s length', Buffer.from(tone).fill(0x7f, begin + 1, begin + 2)],
    ['blocks cut out', Buffer.concat([tone.subarray(0, inside), tone.subarray(end + 30)])],
    ['blocks of zeros', Buffer.from(tone).fill(0, inside, end + 30)],
    ['blocks of other bytes', Buffer.from(tone).fill(0xa3, inside, end + 30)],
  ];
  it.each(damaged)('%s', async (_, bytes) => {
    const { samples, incomplete, warnings } = await readAll(bytes);
    expect(samples.length).toBe(whole.length);
    expect(ratio(samples.subarray(12_000), whole.subarray(12_000))).toBeGreaterThan(20);
    expect(firstDifference(samples.subarray(0, 6000), whole.subarray(0, 6000))).toBe(-1);
    expect(incomplete).toBe(true);
    expect(warnings).toEqual([expect.stringMatching(/damaged .* at 0:00\.[345]/)]);
  });

  it('a missing end gives a warning', async () => {
    const { samples, incomplete } = await readAll(tone.subarray(0, places[30] + 20));
    expect(samples.length).toBeGreaterThan(0.5 * 16000);
    expect(incomplete).toBe(true);
  });

  it('with any chunk size', async () => {
    const expected = (await readAll(damaged[3][1])).samples;
    async function* pieces() {
      for (let at = 0; at < tone.length; at += 331) yield damaged[3][1].subarray(at, at + 331);
    }
    expect(firstDifference((await readAll(pieces())).samples, expected)).toBe(-1);
  });
});

describe.skipIf(!hasFfmpeg)('made with ffmpeg (skipped where it is not installed):', () => {
  const made = (format: string, ...codec: string[]): Buffer => {
    const sound = ['-f', 'lavfi', '-i', 'sine=440:d=3:r=48000', '-ac', '1'];
    return spawnSync('ffmpeg', ['-v', 'error', ...sound, ...codec, '-f', format, '-'], { maxBuffer: 1 << 26 }).stdout;
  };

  it.each([
    ['Opus', 'webm', 'libopus'],
    ['Vorbis', 'webm', 'libvorbis'],
    ['AAC', 'matroska', 'aac'],
    ['FLAC', 'matroska', 'flac'],
    ['MP3', 'matroska', 'libmp3lame'],
    ['ALAC', 'matroska', 'alac'],
    ['samples', 'matroska', 'pcm_s24le'],
    ['AC-3', 'matroska', 'ac3'],
  ])('%s in %s equals the output of ffmpeg', async (_, format, codec) => {
    const bytes = made(format, '-c:a', codec);
    const [{ samples, warnings }, decoded] = [await readAll(bytes), decodedByFfmpeg(bytes)];
    expect(warnings).toEqual([]);
    expect(Math.abs(samples.length - decoded.length)).toBeLessThan(10);
    const length = Math.min(samples.length, decoded.length);
    expect(ratio(samples.subarray(0, length), decoded.subarray(0, length))).toBeGreaterThan(10);
  });

  it('a lost cluster header changes no times', async () => {
    const bytes = made('webm', '-c:a', 'libopus', '-cluster_time_limit', '500');
    const expected = (await readAll(bytes)).samples;
    const head = Buffer.from([0x1f, 0x43, 0xb6, 0x75]);
    const second = bytes.indexOf(head, bytes.indexOf(head) + 4);
    const hole = Buffer.concat([bytes.subarray(0, second - 300), bytes.subarray(second + 300)]);
    const { samples, incomplete } = await readAll(hole);
    expect(samples.length).toBe(expected.length);
    expect(ratio(samples.subarray(40_000), expected.subarray(40_000))).toBeGreaterThan(20);
    expect(incomplete).toBe(true);
  });
});
