import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { type AudioInput, openAudio } from '../../lib/audio/index.js';
import { OneheadError } from '../../lib/errors.js';
import { folder, hasFfmpeg, readAll } from './support.js';

/** Open files of this process in the fixtures folder, if the system lists them. */
function openFixtures(): string[] {
  if (process.platform !== 'linux') return [];
  const target = (fd: string) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  };
  return readdirSync('/proc/self/fd')
    .map(target)
    .filter((path) => path.startsWith(folder));
}

/** Running child processes of this process. */
function children(): string[] {
  if (process.platform !== 'linux') return [];
  const of = (pid: string) => readFileSync(`/proc/self/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  const name = (pid: string) => {
    try {
      return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
    } catch {
      return '';
    }
  };
  return readdirSync('/proc/self/task')
    .flatMap(of)
    .map(name)
    .filter((comm) => comm === 'ffmpeg');
}

async function settled(): Promise<void> {
  for (let i = 0; i < 100 && openFixtures().length + children().length > 0; ++i) await sleep(10);
  expect([...openFixtures(), ...children()]).toEqual([]);
}

const files = ['tone.wav', 'tone.flac', 'last.m4a', ...(hasFfmpeg ? ['mono-8k.aiff'] : [])];

describe('nothing stays open', () => {
  it.each(files)('after %s was opened and closed, left early, or read', async (file) => {
    const unread = await openAudio(folder + file);
    await unread.close();
    await settled();
    for await (const _ of (await openAudio(folder + file)).chunks()) break;
    await settled();
    const paused = await openAudio(folder + file);
    await paused.chunks()[Symbol.asyncIterator]().next();
    await paused.close();
    await paused.close();
    await settled();
    await readAll(folder + file);
    await settled();
  });

  it('except the given stream, when the audio is closed during a pending read', async () => {
    const stream = new Readable({ read() {} });
    stream.push(readFileSync(`${folder}tone.wav`).subarray(0, 60_000));
    const source = await openAudio(stream);
    const chunks = source.chunks()[Symbol.asyncIterator]();
    await chunks.next();
    const waiting = chunks.next().catch((error: unknown) => error);
    await source.close();
    expect(await waiting).toMatchObject({ code: 'DISPOSED' });
    // Later data belongs to the owner.
    expect(stream.destroyed).toBe(false);
    expect(['readable', 'end', 'close', 'error'].map((event) => stream.listenerCount(event))).toEqual([0, 0, 0, 0]);
    stream.push('more');
    stream.push(null);
    expect(await text(stream)).toBe('more');
  });

  it('of a web stream that stalls', async () => {
    let cancelled = false;
    const head = readFileSync(`${folder}tone.wav`).subarray(0, 8000);
    const stream = new ReadableStream<Uint8Array>({
      start: (control) => control.enqueue(head),
      cancel: () => {
        cancelled = true;
      },
    });
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('enough')), 20);
    await expect(readAll(stream, { signal: controller.signal })).rejects.toThrow('enough');
    expect(cancelled).toBe(true);
  });
});

describe("a stream stays its owner's", () => {
  const tone = readFileSync(`${folder}tone.wav`);
  const padded = Buffer.concat([tone, Buffer.from('the rest')]);

  it('after enough was read, or after it was refused', async () => {
    for (const bytes of [padded, Buffer.alloc(100_000, 'no sound ')]) {
      const chunks = Array.from({ length: Math.ceil(bytes.length / 4096) }, (_, i) =>
        bytes.subarray(4096 * i, 4096 * (i + 1)),
      );
      const stream = Readable.from([...chunks, Buffer.from('the end')]);
      await readAll(stream).catch(() => {});
      expect(stream.destroyed).toBe(false);
      expect(await text(stream)).toMatch(/the end$/);
      let left = chunks.length + 1;
      const web = new ReadableStream<Uint8Array>({
        pull: (control) => {
          if (left-- > 1) control.enqueue(chunks[chunks.length - left]);
          else if (left === 0) control.enqueue(Buffer.from('the end'));
          else control.close();
        },
      });
      await readAll(web).catch(() => {});
      expect(web.locked).toBe(false);
      expect(await text(web as import('node:stream/web').ReadableStream)).toMatch(/the end$/);
    }
  });

  it('until its owner aborts', async () => {
    const controller = new AbortController();
    const stream = new Readable({ read() {} });
    stream.push(tone.subarray(0, 8000));
    const reading = readAll(stream, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 10);
    await expect(reading).rejects.toThrow('enough');
    expect(stream.destroyed).toBe(true);
  });

  it('and an error of the stream is passed on', async () => {
    const stream = new Readable({ read() {} });
    stream.push(tone.subarray(0, 8000));
    setTimeout(() => stream.destroy(), 10);
    await expect(readAll(stream)).rejects.toMatchObject({
      code: 'AUDIO_INVALID',
      message: expect.stringContaining('closed before its end'),
    });
  });
});

describe('an abort', () => {
  it.each(files)('ends the reading of %s with its reason', async (file) => {
    const controller = new AbortController();
    const source = await openAudio(folder + file, { signal: controller.signal });
    const chunks = source.chunks()[Symbol.asyncIterator]();
    await chunks.next();
    controller.abort(new Error('enough'));
    const rest = async () => {
      for (;;) if ((await chunks.next()).done) return;
    };
    await expect(rest()).rejects.toThrow('enough');
    await settled();
  });

  it('takes effect while samples in memory are read', async () => {
    const controller = new AbortController();
    const begin = performance.now();
    setTimeout(() => controller.abort(new Error('enough')), 50);
    const samples = new Float32Array(44_100 * 1200);
    await expect(readAll({ samples, sampleRate: 44_100 }, { signal: controller.signal })).rejects.toThrow('enough');
    expect(performance.now() - begin).toBeLessThan(2000);
  });
});

describe('refuses', () => {
  it.each<[string, () => unknown, object | number, string, string]>([
    ['an empty path', () => '', {}, 'INVALID_ARGUMENT', 'empty string'],
    ['an address', () => 'https://example.org/a.mp3', {}, 'INVALID_ARGUMENT', "response's body"],
    ['a file: URL of another computer', () => new URL('file://host/a.wav'), {}, 'INVALID_ARGUMENT', 'file: URL'],
    ['samples of another type', () => new Int16Array(9), {}, 'INVALID_ARGUMENT', 'received Int16Array'],
    ['an array of numbers', () => [1, 2], {}, 'INVALID_ARGUMENT', 'received [1, 2]'],
    ['no samples', () => ({ samples: null, sampleRate: 16000 }), {}, 'INVALID_ARGUMENT', 'Float32Array'],
    ['a rate of NaN', () => new Float32Array(9), { sampleRate: Number.NaN }, 'INVALID_ARGUMENT', 'received NaN'],
    ['a rate that is text', () => new Float32Array(9), { sampleRate: '16000' }, 'INVALID_ARGUMENT', 'sampleRate'],
    ['a false signal', () => new Float32Array(9), { signal: {} }, 'INVALID_ARGUMENT', 'AbortSignal'],
    ['options that are none', () => new Float32Array(9), 7, 'INVALID_ARGUMENT', 'options'],
    [
      'an infinite sample',
      () => Float32Array.of(Number.POSITIVE_INFINITY),
      {},
      'INVALID_ARGUMENT',
      'Expected samples[0]',
    ],
    ['a stream that fails', () => Readable.from(failing()), {}, 'AUDIO_INVALID', 'lost the line'],
    [
      'an index that is missing',
      () => readFileSync(`${folder}last.m4a`).subarray(0, 4500),
      {},
      'AUDIO_INVALID',
      'index',
    ],
    ['a playlist', () => Buffer.from('#EXTM3U\nhttps://example.org/a.ts\n'), {}, 'AUDIO_INVALID', 'is text'],
  ])('%s', async (_, make, options, code, message) => {
    const error = await readAll(make() as AudioInput, options as object).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(OneheadError);
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
  });

  async function* failing() {
    yield readFileSync(`${folder}tone.wav`).subarray(0, 100);
    throw new Error('lost the line');
  }

  it('random bytes, or decodes them, but never fails otherwise, and prints nothing', async () => {
    const printed = (['log', 'warn', 'error'] as const).map((name) => vi.spyOn(console, name));
    let state = 3;
    const next = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state >>> 24;
    };
    const magics = [
      '',
      'RIFF....WAVEfmt ',
      'fLaC',
      'ID3\x03',
      'OggS',
      '....ftypM4A ',
      '\xff\xfb\x90\x64',
      '\x1aE\xdf\xa3',
      '\xff\xf1',
    ];
    for (const magic of magics) {
      for (const length of [1, 100, 20_000]) {
        const bytes = Buffer.concat([Buffer.from(magic, 'latin1'), Buffer.from(Array.from({ length }, next))]);
        const result = await readAll(bytes).catch((error: unknown) => error);
        if (result instanceof Error) expect(result, `${magic} ${result.stack}`).toBeInstanceOf(OneheadError);
      }
    }
    for (const spy of printed) {
      expect(spy).not.toHaveBeenCalled();
      spy.mockRestore();
    }
  });
});
