/** All kinds of audio input, and the errors for everything else. */
import { createReadStream, openAsBlob, readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { AudioInput } from '../../lib/audio/index.js';
import { OneheadError } from '../../lib/errors.js';
import { firstDifference, folder, hasFfmpeg, readAll, wavOf } from './support.js';

const bytesOf = (file: string) => readFileSync(folder + file);

describe('reads', () => {
  const web = (bytes: Uint8Array) => new Blob([bytes as Uint8Array<ArrayBuffer>]).stream();
  const inputs: Record<string, (file: string) => AudioInput | Promise<AudioInput>> = {
    'a File': (file) => new File([bytesOf(file)], file),
    'a Blob of two parts': (file) => new Blob([bytesOf(file).subarray(0, 999), bytesOf(file).subarray(999)]),
    'a Blob on the disk': (file) => openAsBlob(folder + file),
    'a Response': (file) => new Response(bytesOf(file)),
    'a Response of a stream': (file) => new Response(web(bytesOf(file))),
    'a Request': (file) => new Request('http://localhost/', { method: 'POST', body: bytesOf(file) }),
    'a web stream': (file) => web(bytesOf(file)) as ReadableStream<Uint8Array>,
    'an ArrayBuffer': (file) => Uint8Array.from(bytesOf(file)).buffer,
    'a stream of Node.js': (file) => createReadStream(folder + file),
    'an iterator of a stream': (file) => createReadStream(folder + file)[Symbol.asyncIterator](),
  };
  it.each(Object.keys(inputs))('%s', async (name) => {
    for (const file of ['tone.wav', 'tone.flac', 'last.m4a', 'tone.webm', ...(hasFfmpeg ? ['mono-8k.aiff'] : [])]) {
      const expected = (await readAll(folder + file)).samples;
      expect(firstDifference((await readAll(await inputs[name](file))).samples, expected), file).toBe(-1);
    }
  });

  it('a body that is not read to its end', async () => {
    let left = 100;
    const body = new ReadableStream<Uint8Array>({
      pull: (control) =>
        left-- > 0 ? control.enqueue(left === 99 ? bytesOf('tone.wav') : Buffer.from(`${left}`)) : control.close(),
    });
    const response = new Response(body);
    await readAll(response);
    let last = '';
    for await (const chunk of response.body!) last = Buffer.from(chunk).toString();
    expect(last).toBe('0');
  });
});

describe('refuses, with one sentence,', () => {
  const long = 'x'.repeat(50_000);
  const base64 = bytesOf('tone.wav').toString('base64');
  it.each<[string, () => unknown, string, RegExp]>([
    ['a data: URL', () => `data:audio/wav;base64,${base64}`, 'INVALID_ARGUMENT', /data: URL.*Buffer\.from/],
    ['a data: URL object', () => new URL(`data:audio/wav;base64,${base64}`), 'INVALID_ARGUMENT', /data: URL/],
    ['base64', () => base64, 'AUDIO_NOT_FOUND', /Buffer\.from\(text, 'base64'\)/],
    ['base64 in lines', () => base64.slice(0, 900).replace(/.{76}/g, '$&\n'), 'AUDIO_NOT_FOUND', /base64/],
    ['short base64', () => base64.slice(0, 120), 'AUDIO_NOT_FOUND', /base64/],
    ['bytes as text', () => bytesOf('tone.wav').toString('latin1'), 'AUDIO_NOT_FOUND', /Uint8Array/],
    ['a long path', () => `/tmp/${long}.wav`, 'AUDIO_NOT_FOUND', /check the path/],
    [
      'a path of long parts',
      () => `/tmp/${long.slice(0, 200)}/${long.slice(0, 200)}.wav`,
      'AUDIO_NOT_FOUND',
      /no such/,
    ],
    ['a long address', () => `https://example.org/${long}`, 'INVALID_ARGUMENT', /address.*response's body/],
    ['a bucket', () => 's3://bucket/a.wav', 'INVALID_ARGUMENT', /address/],
    ['a blob: URL', () => 'blob:nodedata:1234', 'INVALID_ARGUMENT', /address/],
    ['a file: URL of another computer', () => `file://${long.slice(0, 60)}/${long}`, 'INVALID_ARGUMENT', /file: URL/],
    ['a class with a long name', () => new ({ [long]: class {} })[long](), 'INVALID_ARGUMENT', /received x/],
    ['an empty File', () => new File([], `${long}.wav`), 'AUDIO_INVALID', /is empty/],
    ['a File of text', () => new File(['just words'], `${long}.wav`), 'AUDIO_INVALID', /is text/],
    ['a Response without a body', () => new Response(null), 'AUDIO_INVALID', /no body/],
    [
      'a Response that failed',
      () => new Response('Not here', { status: 404, statusText: long }),
      'AUDIO_NOT_FOUND',
      /404/,
    ],
    ['a page', () => new Response('<!doctype html><title>Log in</title>'), 'AUDIO_INVALID', /is text/],
    ['a stream that fails at length', () => Readable.from(failing()), 'AUDIO_INVALID', /xxx/],
    ['transferred samples', () => transferred(new Float32Array(16_000)), 'INVALID_ARGUMENT', /samples .*transferred/],
    [
      'a transferred channel',
      () => ({ samples: [transferred(new Float32Array(16_000))], sampleRate: 16_000 }),
      'INVALID_ARGUMENT',
      /samples .*transferred/,
    ],
    ['transferred bytes', () => transferred(Uint8Array.from(bytesOf('tone.wav'))), 'INVALID_ARGUMENT', /transferred/],
    ['a transferred buffer', () => transferred(new Uint8Array(9)).buffer, 'INVALID_ARGUMENT', /transferred/],
    [
      'a stream of transferred bytes',
      () => Readable.from([transferred(new Uint8Array(9))]),
      'INVALID_ARGUMENT',
      /chunks of the stream .*transferred/,
    ],
    [
      'a rate that is long',
      () => ({ samples: new Float32Array(9), sampleRate: long }),
      'INVALID_ARGUMENT',
      /sampleRate/,
    ],
    ['text with colours', () => '\x1b[31mred\n.wav', 'AUDIO_NOT_FOUND', /Cannot open \[?/],
  ])('%s', async (_, make, code, message) => {
    const error = await readAll(make() as AudioInput).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(OneheadError);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
    const text = (error as Error).message;
    expect(text.length).toBeLessThan(400);
    expect(text).toMatch(/^\P{Cc}+\.$/u);
    expect(text).not.toMatch(/x{200}/);
    for (let at = 0; at + 200 <= text.length; ++at) expect(base64.includes(text.slice(at, at + 200))).toBe(false);
  });
  function transferred<T extends Float32Array | Uint8Array>(data: T): T {
    structuredClone(data.buffer, { transfer: [data.buffer as ArrayBuffer] });
    return data;
  }
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield new Uint8Array(0);
    throw new Error(long);
  }

  it('a body that was read before, or is being read', async () => {
    const response = new Response(bytesOf('tone.wav'));
    await response.arrayBuffer();
    await expect(readAll(response)).rejects.toMatchObject({ message: expect.stringContaining('was read before') });
    const stream = new Response(bytesOf('tone.wav')).body!;
    stream.getReader();
    await expect(readAll(stream)).rejects.toMatchObject({ message: expect.stringContaining('already being read') });
  });
});

describe('limits', () => {
  const seconds = (count: number) => new Float32Array(count * 16_000);
  const packed = [
    ...['tone.wav', 'tone.flac', 'tone.mp3', 'tone.ogg', 'tone.opus', 'first.m4a', 'tone.webm', 'mono-48k.aac'],
    ...(hasFfmpeg ? ['mono-8k.aiff'] : []),
  ];
  it.each(packed)('of time apply to %s, as path, bytes and stream', async (file) => {
    for (const input of [folder + file, bytesOf(file), createReadStream(folder + file)]) {
      await expect(readAll(input, { maxDuration: 1 })).rejects.toMatchObject({
        code: 'AUDIO_TOO_LONG',
        message: expect.stringMatching(/longer than the allowed 0:01.0.*maxDuration\.$/),
      });
    }
    expect((await readAll(folder + file, { maxDuration: 1.7 })).samples.length).toBeGreaterThan(20_000);
  });

  it.each(packed)('of bytes apply to %s, as path, bytes and stream', async (file) => {
    const { length } = bytesOf(file);
    const inputs = () => [
      folder + file,
      bytesOf(file),
      createReadStream(folder + file),
      new File([bytesOf(file)], file),
    ];
    for (const input of inputs()) {
      await expect(readAll(input, { maxBytes: length >> 1 })).rejects.toMatchObject({
        code: 'AUDIO_TOO_LARGE',
        message: expect.stringMatching(/maxBytes\.$/),
      });
    }
    for (const input of inputs()) {
      expect((await readAll(input, { maxBytes: length })).samples.length).toBeGreaterThan(20_000);
    }
  });

  it('apply to decoded audio, whatever a header states', async () => {
    const forged = wavOf(seconds(5));
    forged.writeUInt32LE(32_000, 40); // "one second"
    expect((await readAll(forged, { maxDuration: 2 })).samples.length).toBe(16_000);
    forged.writeUInt32LE(0xffffffff, 40); // "unknown": it goes on to the end
    await expect(readAll(Readable.from([forged]), { maxDuration: 2 })).rejects.toMatchObject({
      code: 'AUDIO_TOO_LONG',
    });
    const flac = bytesOf('tone.flac');
    flac.fill(0, 22, 26); // no number of samples
    await expect(readAll(flac, { maxDuration: 1 })).rejects.toMatchObject({ code: 'AUDIO_TOO_LONG' });
  });

  it('apply to samples, and refuse audio of known length before reading it', async () => {
    await expect(readAll(seconds(3), { maxDuration: 2 })).rejects.toMatchObject({ code: 'AUDIO_TOO_LONG' });
    await expect(readAll(wavOf(seconds(3)), { maxDuration: 2 })).rejects.toMatchObject({ code: 'AUDIO_TOO_LONG' });
    expect((await readAll(seconds(2), { maxDuration: 2 })).samples.length).toBe(32_000);
  });

  it.each([0, -1, Number.NaN, '60', {}])('of %s are refused', async (value) => {
    for (const name of ['maxDuration', 'maxBytes']) {
      const error = await readAll(seconds(1), { [name]: value }).catch((caught: unknown) => caught);
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(`Expected ${name}`) });
    }
  });
});
