import { createReadStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { type AudioInput, openAudio } from '../../lib/audio/index.js';
import { OneheadError } from '../../lib/errors.js';
import { readAll } from './support.js';

const folder = new URL('../fixtures/audio/', import.meta.url).pathname;
const scratch = mkdtempSync(join(tmpdir(), 'onehead-audio-'));
afterAll(() => rmSync(scratch, { recursive: true }));

async function read(input: AudioInput, options = {}): Promise<Float32Array> {
  const source = await openAudio(input, options);
  const samples: number[] = [];
  for await (const chunk of source.chunks()) for (const sample of chunk) samples.push(sample);
  return Float32Array.from(samples);
}

/** The amplitude of a frequency in the samples. */
function amplitude(samples: Float32Array, hertz: number, rate = 16000): number {
  let [real, imaginary] = [0, 0];
  samples.forEach((sample, i) => {
    real += sample * Math.cos((2 * Math.PI * hertz * i) / rate);
    imaginary += sample * Math.sin((2 * Math.PI * hertz * i) / rate);
  });
  return (2 * Math.hypot(real, imaginary)) / samples.length;
}

function expectTone(samples: Float32Array, level = 0.354, border = 0.1): void {
  expect(Math.abs(samples.length / 16000 - 1.5)).toBeLessThan(border);
  const [sound, silence] = [samples.subarray(3200, 12800), samples.subarray(19200, 23200)];
  expect(amplitude(sound, 440)).toBeCloseTo(level, 1);
  expect(Math.max(...silence.map(Math.abs))).toBeLessThan(0.01);
}

describe('reads', () => {
  it.each(['wav', 'flac', 'mp3', 'ogg', 'opus', 'm4a', 'webm'])('%s', async (format) => {
    expectTone(await read(`${folder}tone.${format}`));
  });

  it('a file: URL, bytes, a stream and one-byte chunks alike', async () => {
    const file = `${folder}tone.wav`;
    const wanted = await read(file);
    const bytes = readFileSync(file);
    async function* single() {
      for (const byte of bytes.subarray(0, 20_000)) yield Uint8Array.of(byte);
      yield bytes.subarray(20_000);
    }
    for (const input of [
      pathToFileURL(file),
      bytes,
      createReadStream(file),
      Readable.toWeb(createReadStream(file)),
      single(),
    ]) {
      expect(await read(input as AudioInput)).toEqual(wanted);
    }
  });

  it('samples, at other rates and of several channels', async () => {
    const sine = (rate: number) =>
      Float32Array.from({ length: rate }, (_, i) => Math.sin((2 * Math.PI * 1000 * i) / rate));
    expect(await read(sine(16000))).toEqual(sine(16000));
    const both = await read({ samples: [sine(48000), new Float32Array(48000)], sampleRate: 48000 });
    expect(both.length).toBe(16000);
    expect(amplitude(both.subarray(500, 15500), 1000)).toBeCloseTo(0.5, 3);
  });
});

describe('wav', () => {
  /** A WAV file of a ramp, in any sample format. */
  function wav(
    bits: number,
    float: boolean,
    { extensible = false, dataSize = -1, before = Buffer.alloc(0) } = {},
  ): Buffer {
    const count = 64;
    const data = Buffer.alloc((count * bits) / 8);
    for (let i = 0; i < count; ++i) {
      const value = i / count - 0.5;
      const at = (i * bits) / 8;
      if (float) bits === 64 ? data.writeDoubleLE(value, at) : data.writeFloatLE(value, at);
      else if (bits === 8) data.writeUInt8(128 + 128 * value, at);
      else data.writeIntLE(value * 2 ** (bits - 1), at, bits / 8);
    }
    const format = Buffer.alloc(extensible ? 40 : 16);
    format.writeUInt16LE(extensible ? 0xfffe : float ? 3 : 1, 0);
    format.writeUInt16LE(1, 2);
    format.writeUInt32LE(16000, 4);
    format.writeUInt32LE((16000 * bits) / 8, 8);
    format.writeUInt16LE(bits / 8, 12);
    format.writeUInt16LE(bits, 14);
    if (extensible) format.writeUInt16LE(float ? 3 : 1, 24);
    const chunk = (id: string, body: Buffer, size = body.length) => {
      const head = Buffer.from(`${id}    `);
      head.writeUInt32LE(size, 4);
      return Buffer.concat([head, body, Buffer.alloc(body.length & 1)]);
    };
    const body = [
      Buffer.from('WAVE'),
      before,
      chunk('fmt ', format),
      chunk('LIST', Buffer.from('odd')),
      chunk('data', data, dataSize < 0 ? data.length : dataSize),
    ];
    return chunk('RIFF', Buffer.concat(body));
  }
  const ramp = Float32Array.from({ length: 64 }, (_, i) => i / 64 - 0.5);

  it.each([
    [8, false],
    [16, false],
    [24, false],
    [32, false],
    [32, true],
    [64, true],
  ])('of %i bits, float: %s', async (bits, float) => {
    expect(await read(wav(bits, float))).toEqual(ramp);
    expect(await read(wav(bits, float, { extensible: true }))).toEqual(ramp);
  });

  /** Samples of fewer bits, in the upper bits of `bytes` bytes; big-endian files are RIFX. */
  function packed(bits: number, bytes: number, big: boolean, float = false): Buffer {
    const data = Buffer.alloc(64 * bytes);
    ramp.forEach((sample, i) => {
      const value = Math.round(sample * 2 ** (bits - 1)) * 2 ** (8 * bytes - bits);
      if (float) big ? data.writeFloatBE(sample, i * 4) : data.writeFloatLE(sample, i * 4);
      else if (bytes === 1) data.writeUInt8(value + 128, i);
      else big ? data.writeIntBE(value, i * bytes, bytes) : data.writeIntLE(value, i * bytes, bytes);
    });
    const header = Buffer.alloc(44);
    const numbers: [number, number, number][] = [
      [4, 36 + data.length, 4],
      [16, 16, 4],
      [20, float ? 3 : 1, 2],
      [22, 1, 2],
      [24, 16_000, 4],
      [28, 16_000 * bytes, 4],
      [32, bytes, 2],
      [34, bits, 2],
      [40, data.length, 4],
    ];
    for (const [at, value, size] of numbers) {
      big ? header.writeUIntBE(value, at, size) : header.writeUIntLE(value, at, size);
    }
    for (const [at, id] of [
      [0, big ? 'RIFX' : 'RIFF'],
      [8, 'WAVEfmt '],
      [36, 'data'],
    ] as const)
      header.write(id, at);
    return Buffer.concat([header, data]);
  }

  it.each([
    [7, 1],
    [8, 1],
    [12, 2],
    [16, 2],
    [20, 3],
    [20, 4],
    [24, 3],
    [24, 4],
    [32, 4],
  ])('of %i bits in %i bytes, in both byte orders', async (bits, bytes) => {
    for (const big of [false, true]) {
      expect(await read(packed(bits, bytes, big))).toEqual(ramp);
      expect((await openAudio(packed(bits, bytes, big))).duration).toBe(64 / 16_000);
    }
    expect(await read(packed(32, 4, true, true))).toEqual(ramp);
  });

  it.each([0, 0xffffffff, 1_000_000])('whose header claims %i bytes gives the available samples', async (dataSize) => {
    expect(await read(wav(16, false, { dataSize }))).toEqual(ramp);
  });

  it('is not read beyond its audio', async () => {
    expect(await read(Buffer.concat([wav(16, false), Buffer.from('LIST....................')]))).toEqual(ramp);
  });
});

describe('the resampler', () => {
  it.each([8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000])(
    'from %i Hz keeps a tone as it is, in time',
    async (rate) => {
      const hertz = 1234;
      const samples = Float32Array.from({ length: rate }, (_, i) => Math.sin((2 * Math.PI * hertz * i) / rate));
      const got = await read({ samples, sampleRate: rate });
      expect(got.length).toBe(16000);
      let [signal, noise] = [0, 0];
      for (let i = 800; i < 15200; ++i) {
        const wanted = Math.sin((2 * Math.PI * hertz * i) / 16000);
        signal += wanted ** 2;
        noise += (got[i] - wanted) ** 2;
      }
      expect(10 * Math.log10(signal / noise)).toBeGreaterThan(80);
    },
  );

  it.each([9000, 12000, 20000])('does not alias %i Hz', async (hertz) => {
    const samples = Float32Array.from({ length: 44100 }, (_, i) => Math.sin((2 * Math.PI * hertz * i) / 44100));
    const got = (await read({ samples, sampleRate: 44100 })).subarray(800, 15200);
    expect(Math.max(...got.map(Math.abs))).toBeLessThan(1e-4);
  });
});

describe('refuses, with one sentence,', () => {
  const write = (name: string, content: string | Buffer) => {
    writeFileSync(join(scratch, name), content);
    return join(scratch, name);
  };
  const flac = readFileSync(`${folder}tone.flac`);
  it.each<[string, () => AudioInput, string, string]>([
    ['a missing file', () => join(scratch, 'none.wav'), 'AUDIO_NOT_FOUND', 'there is no such file'],
    ['a folder', () => scratch, 'AUDIO_NOT_FOUND', 'is a folder'],
    ['an empty file', () => write('empty.mp3', ''), 'AUDIO_INVALID', 'is empty'],
    ['a text', () => write('text.wav', 'not a sound at all'), 'AUDIO_INVALID', 'does not look like audio'],
    [
      'a header without sound',
      () => readFileSync(`${folder}tone.wav`).subarray(0, 44),
      'AUDIO_INVALID',
      'contains no audio',
    ],
    [
      'a broken flac',
      () => Buffer.concat([flac.subarray(0, 42), Buffer.alloc(5000, 0x55)]),
      'AUDIO_INVALID',
      'the given data',
    ],
    ['an empty stream', () => Readable.from([]), 'AUDIO_INVALID', 'is empty'],
    ['no samples', () => new Float32Array(), 'AUDIO_INVALID', 'contain no audio'],
    [
      'samples that are not numbers',
      () => Float32Array.of(0, Number.NaN),
      'INVALID_ARGUMENT',
      'samples[1] to be a number from -1 to 1 but received NaN',
    ],
    ['a rate of zero', () => ({ samples: new Float32Array(9), sampleRate: 0 }), 'INVALID_ARGUMENT', 'sampleRate'],
    ['a number', () => 3 as unknown as string, 'INVALID_ARGUMENT', 'received 3'],
    ['null', () => null as unknown as string, 'INVALID_ARGUMENT', 'received null'],
    [
      'a stream of text',
      () => Readable.from(['a', 'b']) as AudioInput,
      'INVALID_ARGUMENT',
      'Expected chunks of the stream to be bytes',
    ],
    [
      'a web address',
      () => new URL('https://example.org/a.mp3'),
      'INVALID_ARGUMENT',
      'Expected audio to be a file: URL',
    ],
  ])('%s', async (_, make, code, message) => {
    const error = await read(make()).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(OneheadError);
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
  });

  it('no truncated file: the available audio is decoded', async () => {
    for (const format of ['wav', 'flac', 'mp3']) {
      const bytes = readFileSync(`${folder}tone.${format}`);
      const samples = await read(bytes.subarray(0, Math.floor(bytes.length * 0.6)));
      expect(samples.length).toBeGreaterThan(1600);
    }
  });

  it('no truncated WAV or SPHERE file, but adds a warning', async () => {
    const whole = Buffer.from(readFileSync(`${folder}tone.wav`));
    const data = whole.indexOf('data') + 4;
    const second = whole.readUInt32LE(28);
    const long = Buffer.concat([whole.subarray(0, data + 4), Buffer.alloc(3 * second, 1)]);
    const sized = (size: number) => {
      long.writeUInt32LE(size, data);
      return long;
    };
    for (const bytes of [sized(10 * second), Readable.from([Buffer.from(long)])]) {
      const { warnings, incomplete } = await readAll(bytes);
      expect({ warnings, incomplete }).toEqual({
        warnings: [expect.stringContaining('could not be read from 0:03.0 on: its stated duration is 0:10.0')],
        incomplete: true,
      });
    }
    // Sizes written by programs that write to a pipe, and sizes within the tolerance.
    for (const size of [0, 0x7ffff000, 0x80000000, 0xffffffff, 3 * second, 3 * second + 2]) {
      expect((await readAll(sized(size))).warnings).toEqual([]);
    }
  });

  it('an aborted read, with the reason of the signal, even while a stream stalls', async () => {
    const controller = new AbortController();
    const stalled = new Readable({ read() {} });
    const waiting = openAudio(stalled, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 10);
    await expect(waiting).rejects.toThrow('enough');
    await expect(openAudio(`${folder}tone.mp3`, { signal: controller.signal })).rejects.toThrow('enough');
  });
});

it('damaged files give samples or an OneheadError', async () => {
  let state = 7;
  const next = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state % below;
  };
  for (const format of ['wav', 'flac', 'mp3', 'ogg', 'opus', 'm4a', 'webm']) {
    const whole = readFileSync(`${folder}tone.${format}`);
    for (let round = 0; round < 12; ++round) {
      const bytes = Buffer.from(whole.subarray(0, 1 + next(whole.length)));
      for (let flips = 0; flips < 10; ++flips) bytes[next(bytes.length)] ^= 1 << next(8);
      const result = await read(bytes).catch((error: unknown) => error);
      expect(result instanceof Float32Array || result instanceof OneheadError, `${format} ${round}: ${result}`).toBe(
        true,
      );
    }
  }
});
