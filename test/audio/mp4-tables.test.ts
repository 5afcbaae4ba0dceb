/** MP4 files whose tables claim too many entries: a decoder that trusts them would exhaust the memory. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { amplitude, firstDifference, folder, readAll } from './support.js';

const fixture = (name: string) => readFileSync(folder + name);
const whole = fixture('first.m4a');
const maxUint32 = 0xffffffff;

/** A copy with a 32-bit number written at an offset after a box's name. */
function claimed(bytes: Buffer, name: string, offset: number, value: number): Buffer {
  const copy = Buffer.from(bytes);
  const at = copy.indexOf(name);
  expect(at).toBeGreaterThan(0);
  copy.writeUInt32BE(value, at + 4 + offset);
  return copy;
}

async function* pieces(bytes: Buffer) {
  for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
}

describe('a forged count', () => {
  it.each([
    ['stsz', 8],
    ['stco', 4],
    ['stsc', 4],
    ['stts', 4],
    ['elst', 4],
  ])('in %s is limited to the bytes of the file', async (name, offset) => {
    const { samples } = await readAll(whole);
    for (const count of [maxUint32, 1 << 28]) {
      const bytes = claimed(whole, name, offset, count);
      for (const input of [bytes, pieces(bytes)]) {
        const result = await readAll(input, { ffmpeg: false });
        expect(Math.abs(result.samples.length - samples.length)).toBeLessThan(2500);
        expect(firstDifference(result.samples.subarray(0, 16_000), samples.subarray(0, 16_000))).toBe(-1);
      }
    }
  });

  it('of frames of one size is refused', async () => {
    const bytes = claimed(claimed(whole, 'stsz', 4, 300), 'stsz', 8, maxUint32);
    await expect(readAll(bytes, { ffmpeg: false })).rejects.toMatchObject({
      code: 'AUDIO_INVALID',
      message: expect.stringContaining('claims more frames'),
    });
  });

  it.each([0x000301, 0x000001, 0x000f05])('in a fragment is limited too, with flags %s', async (flags) => {
    let bytes: Buffer = fixture('two-fragmented.mp4');
    for (let at = bytes.indexOf('trun'); at >= 0; at = bytes.indexOf('trun', at + 4)) {
      bytes = Buffer.from(bytes);
      bytes.writeUInt32BE(flags, at + 4);
      bytes.writeUInt32BE(maxUint32, at + 8);
    }
    const result = await readAll(bytes, { ffmpeg: false }).catch((error: unknown) => error);
    if (result instanceof Error) expect(result).toMatchObject({ code: 'AUDIO_INVALID' });
  });

  it('is checked once, however many tables claim the same bytes', async () => {
    const claims = Buffer.alloc(1 << 20);
    for (let at = 0; at < claims.length; at += 8) {
      claims.writeUInt32BE(claims.length - at, at);
      claims.write('stco', at + 4);
    }
    const head = Buffer.from('\0\0\0\0moov');
    head.writeUInt32BE(head.length + claims.length);
    const bytes = Buffer.concat([whole.subarray(0, whole.readUInt32BE(0)), head, claims, Buffer.alloc(99)]);
    const error = await readAll(bytes, { ffmpeg: false }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'AUDIO_INVALID', message: expect.stringContaining('overlap') });
  });

  it('of bytes in a frame does not allocate the rest of the file', async () => {
    const { samples } = await readAll(whole);
    const result = await readAll(claimed(whole, 'stsz', 12 + 4 * 20, 0x7fffffff), { ffmpeg: false });
    expect(result.samples.length).toBeGreaterThan(0.3 * samples.length);
    expect(result.incomplete).toBe(true);
  });
});

it('reports a fragmented file that was cut short', async () => {
  const all = fixture('two-fragmented.mp4');
  const { samples, incomplete } = await readAll(all, { ffmpeg: false });
  expect(incomplete).toBe(false);
  for (const end of [6000, 8000, 10_000]) {
    const cut = await readAll(all.subarray(0, end), { ffmpeg: false });
    expect(cut.samples.length).toBeLessThan(samples.length);
    expect(cut.incomplete).toBe(true);
    expect(cut.warnings).toEqual([expect.stringContaining('its last fragment was cut short')]);
  }
  // What follows the last fragment is not audio.
  expect((await readAll(all.subarray(0, 10_200), { ffmpeg: false })).incomplete).toBe(false);
});

it('reports the time from which a fragmented file cannot be read', async () => {
  const first = fixture('two-fragmented.mp4');
  const last = first.length + 4;
  const bytes = Buffer.concat([first, first.subarray(first.indexOf('moof') - 4)]);
  const { samples } = await readAll(bytes, { track: 0 });
  // The second fragment's header is lost.
  for (const fill of [0, 0x55]) {
    const result = await readAll(Buffer.from(bytes).fill(fill, last - 4, last + 8), { track: 0, ffmpeg: false });
    expect(result.samples.length).toBeGreaterThan(0);
    expect(result.samples.length).toBeLessThan(samples.length);
    expect(result.incomplete).toBe(true);
    expect(result.warnings).toEqual([expect.stringMatching(/could not be read from .* on \(no box begins at byte/)]);
  }
});

describe('a fragmented file whose index has the first frames', () => {
  const bytes = fixture('first-fragment.mp4');

  it('is read to its end', async () => {
    for (const input of [bytes, pieces(bytes), `${folder}first-fragment.mp4`]) {
      const { samples, incomplete, warnings } = await readAll(input, { ffmpeg: false });
      expect(warnings).toEqual([]);
      expect(incomplete).toBe(false);
      expect(Math.abs(samples.length - 1.5 * 16_000)).toBeLessThan(1100);
      // The tone goes on in each fragment, and silence follows it.
      for (let at = 1000; at < 15_000; at += 2000) {
        expect(amplitude(samples.subarray(at, at + 2000), 440)).toBeCloseTo(0.5, 1);
      }
      expect(amplitude(samples.subarray(18_000), 440)).toBeLessThan(0.01);
    }
  });

  it('is reported if it was cut short', async () => {
    const sound = bytes.indexOf('mdat');
    for (const end of [sound + 800, bytes.lastIndexOf('mdat') + 10]) {
      const cut = await readAll(bytes.subarray(0, end), { ffmpeg: false });
      expect(cut.samples.length).toBeGreaterThan(0);
      expect(cut.incomplete).toBe(true);
      expect(cut.warnings).toEqual([expect.stringContaining('its last fragment was cut short')]);
    }
  });

  it('may claim any count', async () => {
    const { samples } = await readAll(bytes, { ffmpeg: false });
    for (const name of ['stco', 'stsc', 'stts']) {
      const forged = await readAll(claimed(bytes, name, 4, maxUint32), { ffmpeg: false });
      expect(firstDifference(forged.samples, samples)).toBe(-1);
    }
    const equal = claimed(claimed(bytes, 'stsz', 4, 300), 'stsz', 8, 1 << 24);
    await expect(readAll(equal, { ffmpeg: false })).rejects.toMatchObject({
      code: 'AUDIO_INVALID',
      message: expect.stringContaining('claims more frames'),
    });
  });

  it('is refused if its first frames are not in it', async () => {
    const far = claimed(bytes, 'stco', 8, 1e6);
    await expect(readAll(far, { ffmpeg: false })).rejects.toMatchObject({ code: 'AUDIO_INVALID' });
  });
});

describe('FLAC in an MP4 file', () => {
  const bytes = fixture('flac-fragmented.mp4');

  it('is read without a gap', async () => {
    for (const input of [bytes, pieces(bytes)]) {
      const { samples, incomplete, warnings } = await readAll(input, { ffmpeg: false });
      expect(warnings).toEqual([]);
      expect(incomplete).toBe(false);
      expect(samples.length).toBe(1.5 * 16_000);
      for (let at = 0; at < 16_000; at += 1600) {
        expect(amplitude(samples.subarray(at, at + 1600), 440)).toBeCloseTo(0.5, 1);
      }
    }
  });

  it('loses only its damaged frames', async () => {
    const whole = (await readAll(bytes, { ffmpeg: false })).samples;
    const second = bytes.indexOf('mdat', bytes.indexOf('mdat') + 4);
    const { samples, incomplete, warnings } = await readAll(Buffer.from(bytes).fill(0x55, second + 200, second + 260), {
      ffmpeg: false,
    });
    expect(samples.length).toBe(whole.length);
    expect(incomplete).toBe(true);
    expect(warnings).toEqual([expect.stringMatching(/damaged in one place at 0:00\.[3-6]; 0\.\d+ s of it/)]);
    expect(firstDifference(samples.subarray(0, 4000), whole.subarray(0, 4000))).toBe(-1);
    expect(firstDifference(samples.subarray(14_000), whole.subarray(14_000))).toBe(-1);
  });
});

it('reads a file with bytes that are no box after the audio', async () => {
  const { samples } = await readAll(whole);
  const result = await readAll(Buffer.concat([whole, Buffer.from('\0\0\0\x05no box at all')]), { ffmpeg: false });
  expect(firstDifference(result.samples, samples)).toBe(-1);
  expect(result.incomplete).toBe(false);
});

it.each([2, 7])('refuses boxes of %s bytes before the index', async (size) => {
  const bytes = Buffer.from(whole);
  bytes.writeUInt32BE(size, bytes.indexOf('moov') - 4);
  await expect(readAll(pieces(bytes), { ffmpeg: false })).rejects.toMatchObject({ code: 'AUDIO_INVALID' });
});
