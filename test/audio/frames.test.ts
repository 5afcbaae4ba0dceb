/** Streams of frames with a length field (mp3, ADTS): tags, damage, and changes of the sample rate. */
import { readFileSync } from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import { adtsHeader, mp3Header } from '../../lib/audio/mpeg.js';
import { amplitude, decodedByFfmpeg, firstDifference, folder, hasFfmpeg, ratio, readAll } from './support.js';

const fixture = (name: string) => readFileSync(folder + name);

/** An ID3v2.4 tag whose contents look like frames. */
function tag(length: number, { footer = false, extended = false } = {}): Buffer {
  const body = Buffer.alloc(length);
  for (let i = extended ? 6 : 0; i + 4 < length; i += 61) body.set([0xff, 0xfb, 0x90, 0x64], i);
  if (extended) body.set([0, 0, 0, 6, 1, 0]);
  const size = [length >> 21, length >> 14, length >> 7, length].map((part) => part & 127);
  const head = (name: string) =>
    Buffer.concat([Buffer.from(name), Buffer.from([4, 0, (extended ? 64 : 0) | (footer ? 16 : 0), ...size])]);
  return Buffer.concat([head('ID3'), body, footer ? head('3DI') : Buffer.alloc(0)]);
}

/** The AAC frames of an MP4 file with contiguous audio, as ADTS. */
function adtsOf(mp4: Buffer, rateIndex: number, channels: number): Buffer {
  const [sizes, sound] = [mp4.indexOf('stsz') + 4, mp4.indexOf('mdat') + 4];
  let at = mp4.readUInt32BE(mp4.indexOf('stco') + 12);
  expect(at).toBeGreaterThanOrEqual(sound);
  const frames = Array.from({ length: mp4.readUInt32BE(sizes + 8) }, (_, i) => {
    const length = mp4.readUInt32BE(sizes + 12 + 4 * i);
    const frame = mp4.subarray(at, at + length);
    at += length;
    const all = length + 7;
    const head = [0xff, 0xf1, 0x40 | (rateIndex << 2) | (channels >> 2), ((channels & 3) << 6) | (all >> 11)];
    return Buffer.concat([Buffer.from([...head, (all >> 3) & 255, ((all & 7) << 5) | 31, 0xfc]), frame]);
  });
  return Buffer.concat(frames);
}

/** Offsets of consecutive frames. */
function places(bytes: Buffer, parse: typeof mp3Header): number[] {
  const found: number[] = [];
  for (let at = bytes.indexOf(0xff); ; ) {
    const header = parse(bytes, at);
    if (!header) return found;
    found.push(at);
    at += header.length;
  }
}

describe('tags at the start, of any size,', () => {
  const tags = [tag(63), tag(100_000, { footer: true }), tag(5000, { extended: true })];
  it.each(['tone.wav', 'tone.flac', 'tone.mp3', 'mono-48k.aac', 'last.m4a', 'tone.ogg', 'tone.webm'])(
    'are passed over before %s',
    async (file) => {
      const expected = await readAll(fixture(file));
      const bytes = Buffer.concat([...tags, fixture(file)]);
      async function* pieces() {
        for (let at = 0; at < bytes.length; at += 1777) yield bytes.subarray(at, at + 1777);
      }
      for (const input of [bytes, pieces()]) {
        const actual = await readAll(input);
        expect(firstDifference(actual.samples, expected.samples)).toBe(-1);
        expect(actual.warnings).toEqual([]);
      }
      expect((await readAll(bytes)).duration).toBe(expected.duration);
    },
  );

  it('are not audio by themselves', async () => {
    await expect(readAll(Buffer.concat(tags))).rejects.toMatchObject({ code: 'AUDIO_INVALID' });
  });

  it('between and after frames are skipped', async () => {
    const bytes = fixture('mono-8k.mp3');
    const [middle] = places(bytes, mp3Header).slice(20);
    const ape = Buffer.concat([Buffer.from('APETAGEX'), Buffer.alloc(24)]);
    const parts = [bytes.subarray(0, middle), tag(9000), bytes.subarray(middle), ape, Buffer.from('TAG'.padEnd(128))];
    const { samples, warnings } = await readAll(Buffer.concat(parts));
    expect(firstDifference(samples, (await readAll(bytes)).samples)).toBe(-1);
    expect(warnings).toEqual([]);
  });
});

describe('damage affects only its frames', () => {
  it.each([
    ['tone.mp3', mp3Header],
    ['mono-48k.aac', adtsHeader],
  ] as const)('of %s, and reported', async (file, parse) => {
    const whole = (await readAll(fixture(file))).samples;
    const found = places(fixture(file), parse);
    const [begin, end] = [found[10], found[14]];
    const bytes = fixture(file).fill(0x55, begin, end);
    const { samples, incomplete, warnings } = await readAll(bytes);
    expect(Math.abs(samples.length - whole.length)).toBeLessThan(1100);
    expect(incomplete).toBe(true);
    expect(warnings[0]).toMatch(/damaged .* at 0:00\.[123]/);
    // The tone continues after the gap.
    expect(amplitude(samples.subarray(8000, 16000), 440)).toBeCloseTo(amplitude(whole.subarray(8000, 16000), 440), 1);
    const cut = await readAll(bytes.subarray(0, found[30] + 20));
    expect(cut.incomplete).toBe(true);
  });
});

it('damage in an MP4 file affects only its frames, and no times', async () => {
  const bytes = fixture('first.m4a');
  const whole = (await readAll(bytes)).samples;
  const begin = bytes.indexOf('mdat') + 1500;
  const { samples, incomplete, warnings } = await readAll(Buffer.from(bytes).fill(0xff, begin, begin + 400));
  expect(Math.abs(samples.length - whole.length)).toBeLessThan(800);
  expect(incomplete).toBe(true);
  expect(warnings).toEqual([expect.stringMatching(/damaged .* at 0:00\.\d; 0\.\d+ s/)]);
  expect(firstDifference(samples.subarray(0, 4000), whole.subarray(0, 4000))).toBe(-1);
  expect(ratio(samples.subarray(14_000, 23_000), whole.subarray(14_000, 23_000))).toBeGreaterThan(20);
  const cut = await readAll(bytes.subarray(0, begin + 1000));
  expect(cut.incomplete).toBe(true);
  expect(cut.warnings).toEqual([expect.stringMatching(/could not be read from .* its end is missing/)]);
});

it('counts mp3 frames that are replaced by silence', async () => {
  // A summary frame that states the number of frames.
  const first = fixture('tone.mp3');
  const frames = places(first, mp3Header);
  const summary = Buffer.alloc(frames[1] - frames[0]);
  first.copy(summary, 0, frames[0], frames[0] + 4);
  const sound = first.subarray(frames[1]);
  const copies = 4;
  const at = first[frames[0] + 3] >> 6 === 3 ? 21 : 36;
  summary.write('Xing', at);
  summary.writeUInt32BE(1, at + 4);
  summary.writeUInt32BE(copies * (frames.length - 1), at + 8);
  const whole = Buffer.concat([summary, ...Array.from({ length: copies }, () => sound)]);
  expect((await readAll(Buffer.from(whole))).warnings).toEqual([]);
  const begin = frames[20];
  const end = begin + 40 * (frames[21] - begin);
  const { warnings } = await readAll(Buffer.from(whole).fill(0x55, begin, end));
  expect(warnings).toEqual([expect.stringMatching(/damaged in one place .* replaced by silence/)]);
  // The removed frames are reported, and the end is not.
  const hole = await readAll(Buffer.concat([whole.subarray(0, begin), whole.subarray(end)]));
  expect(hole.warnings.at(-1)).toMatch(/stated duration is/);
});

describe('streams whose format changes', () => {
  const stereo = adtsOf(fixture('tone.m4a'), 4, 2);
  const mono = fixture('mono-48k.aac');
  const joined: Record<string, [Buffer, number]> = {
    'mp3 of 44.1, then 8 kHz, then 44.1': [
      Buffer.concat([fixture('tone.mp3'), fixture('mono-8k.mp3'), fixture('tone.mp3')]),
      4.5,
    ],
    'ADTS of one channel, then two, of another rate': [Buffer.concat([mono, stereo, mono]), 4.5],
    'ADTS of two channels, then one': [Buffer.concat([stereo, mono]), 3],
  };
  it.each(Object.keys(joined))('%s', async (name) => {
    const [bytes, seconds] = joined[name];
    const { samples, warnings } = await readAll(bytes);
    expect(warnings).toEqual([]);
    expect(Math.abs(samples.length / 16000 - seconds)).toBeLessThan(0.25);
    const part = samples.length / (seconds / 1.5);
    for (let begin = 0; begin + part <= samples.length + 1; begin += part) {
      // A second of tone, and half a second of silence, in each.
      expect(amplitude(samples.subarray(begin + 3000, begin + 13000), 440)).toBeGreaterThan(0.2);
      expect(amplitude(samples.subarray(begin + 19000, begin + 22000), 440)).toBeLessThan(0.01);
    }
    // ffmpeg plays some of the frames that only describe an MP3 file, as silence.
    if (hasFfmpeg) expect(Math.abs(samples.length - decodedByFfmpeg(bytes).length)).toBeLessThan(0.1 * 16000);
  });
});

it('lets no decoder write to the console', async () => {
  const spies = (['log', 'warn', 'error'] as const).map((name) => vi.spyOn(console, name));
  const bytes = fixture('tone.mp3');
  for (let at = 3000; at < bytes.length; at += 97) bytes[at] ^= 0x5a;
  await readAll(bytes).catch(() => {});
  await readAll(Buffer.concat([Buffer.from('ID3\x03\0\0\0\0\0\0', 'latin1'), Buffer.alloc(9000, 0x33)])).catch(
    () => {},
  );
  for (const spy of spies) {
    expect(spy).not.toHaveBeenCalled();
    spy.mockRestore();
  }
});
