/** Decoders that are used again for later recordings: they give what new ones give. */
import { readFileSync } from 'node:fs';
import { FLACDecoder } from '@wasm-audio-decoders/flac';
import { OggVorbisDecoder } from '@wasm-audio-decoders/ogg-vorbis';
import { MPEGDecoder } from 'mpg123-decoder';
import { expect, it, vi } from 'vitest';
import { mixed } from '../../lib/audio/channels.js';
import { Decoders, flacDecoders, mp3Decoders, vorbisDecoders } from '../../lib/audio/decoders.js';
import { readingOf } from '../../lib/audio/options.js';
import { fromBytes } from '../../lib/audio/read.js';
import { firstDifference, folder, heldout, joined } from './support.js';

const fixture = (name: string): Buffer => readFileSync(folder + name);

/** A pseudo-random generator of whole numbers below `count`. */
function numbers(seed: number): (count: number) => number {
  let state = seed;
  return (count) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * count);
  };
}

/** Other bytes in several places, behind the headers. */
function damaged(bytes: Buffer, seed: number): Buffer {
  const random = numbers(seed);
  const copy = Buffer.from(bytes);
  const begin = Math.min(8000, bytes.length >> 1);
  for (let place = 0; place < 4; ++place) {
    const at = begin + random(bytes.length - begin - 100);
    for (let i = 0; i < 40; ++i) copy[at + i] = random(256);
  }
  return copy;
}

const speech = readFileSync(new URL('../../models/micro/sample.flac', import.meta.url));
const whole: Record<string, Buffer> = {
  'FLAC, speech': speech,
  'FLAC of other shapes': Buffer.concat([fixture('tone.flac'), speech, fixture('six-8k.flac'), fixture('tone.flac')]),
  'FLAC in Ogg': fixture('ogg-flac.oga'),
  'FLAC in MP4': fixture('flac-fragmented.mp4'),
  MP3: fixture('tone.mp3'),
  'MP3 of other rates': Buffer.concat(['tone.mp3', 'mono-8k.mp3', 'tone.mp3'].map(fixture)),
  Vorbis: fixture('mono-22k.ogg'),
  'Vorbis, speech': readFileSync(`${heldout}voices.ogg`).subarray(0, 200_000),
  'Vorbis and Opus': Buffer.concat(['tone.ogg', 'tone.opus', 'mono-22k.ogg'].map(fixture)),
  Opus: fixture('mono-16k.opus'),
  WebM: fixture('tone.webm'),
  AAC: fixture('mono-48k.aac'),
  MP4: fixture('tone.m4a'),
  'AAC of a doubled rate': fixture('he-v2.m4a'),
};
const recordings: [name: string, bytes: Buffer][] = Object.entries(whole).flatMap(([name, bytes], i) => [
  [name, bytes],
  [`${name}, damaged`, damaged(bytes, 2 * i + 1)],
  [`${name}, cut short`, bytes.subarray(0, Math.floor(bytes.length * 0.7))],
]);

/** Decodes in this thread, and reads in pieces, so that others get their turns. `least` chunks, or all. */
async function decode(bytes: Buffer, read = fromBytes, least = Number.POSITIVE_INFINITY) {
  async function* pieces() {
    for (let at = 0; at < bytes.length; at += 5000) {
      await new Promise(setImmediate);
      yield bytes.subarray(at, at + 5000);
    }
  }
  const { signal: _, maxBytes: __, ...limits } = readingOf({ ffmpeg: false });
  const chunks: Float32Array[] = [];
  let error = '';
  const source = await read({ name: 'it', bytes: pieces() }, limits, mixed);
  try {
    for await (const chunk of source.chunks()) {
      chunks.push(chunk);
      if (chunks.length >= least) break;
      await new Promise(setImmediate);
    }
  } catch (cause) {
    error = String(cause);
  }
  await source.close();
  return { samples: joined(chunks), warnings: source.warnings, error };
}

/** What new decoders give: other modules have none to be used again. */
const expected: Awaited<ReturnType<typeof decode>>[] = [];
for (const [, bytes] of recordings) {
  vi.resetModules();
  const { fromBytes: fresh } = await import('../../lib/audio/read.js');
  expected.push(await decode(bytes, fresh as typeof fromBytes));
}

async function check(index: number) {
  const [name, bytes] = recordings[index];
  const actual = await decode(bytes);
  expect(firstDifference(actual.samples, expected[index].samples), name).toBe(-1);
  expect(actual.warnings, name).toEqual(expected[index].warnings);
  expect(actual.error, name).toBe(expected[index].error);
}

it('gives the same samples in any order, bit for bit', async () => {
  const random = numbers(1);
  for (let round = 0; round < 2 * recordings.length; ++round) await check(random(recordings.length));
});

it('gives the same samples to many recordings at once, some of which are abandoned', async () => {
  const random = numbers(2);
  for (let round = 0; round < 6; ++round) {
    await Promise.all(
      Array.from({ length: 12 }, () => {
        const index = random(recordings.length);
        return random(3) > 0 ? check(index) : decode(recordings[index][1], fromBytes, 1 + random(2));
      }),
    );
  }
});

/** WebAssembly instances made during `work`. */
async function instances(work: () => Promise<unknown>): Promise<number> {
  const { WebAssembly } = globalThis as unknown as { WebAssembly: { instantiate(): Promise<unknown> } };
  const made = vi.spyOn(WebAssembly, 'instantiate');
  try {
    await work();
    return made.mock.calls.length;
  } finally {
    made.mockRestore();
  }
}

it('makes no decoder for a recording while one is idle', async () => {
  const names = ['FLAC of other shapes', 'FLAC in Ogg', 'MP3 of other rates', 'Vorbis, speech', 'Vorbis and Opus'];
  for (const name of names) await decode(whole[name]);
  const again = async () => {
    for (let round = 0; round < 3; ++round) for (const name of names) await decode(whole[name]);
  };
  expect(await instances(again)).toBe(0);
  // Each of several at once needs its own.
  const both = () => Promise.all(Array.from({ length: 5 }, () => decode(speech)));
  expect(await instances(both)).toBeGreaterThan(0);
  expect(await instances(again)).toBe(0);
});

/** The memory of a decoder, where the libraries keep it. */
const memory = (decoder: object): Buffer => {
  const core = '_decoder' in decoder && typeof decoder._decoder === 'object' ? decoder._decoder : decoder;
  return Buffer.from((core as { _common: { wasm: { HEAP: ArrayBuffer } } })._common.wasm.HEAP);
};

it.each([
  ['FLAC', flacDecoders, () => new FLACDecoder(), speech],
  ['MP3', mp3Decoders, () => new MPEGDecoder({ enableGapless: false }), whole['MP3 of other rates']],
  ['Vorbis', vorbisDecoders, () => new OggVorbisDecoder(), whole['Vorbis, speech']],
] as [string, Decoders<object>, () => { ready: Promise<unknown> }, Buffer][])(
  'an idle decoder of %s has the memory of a new one',
  async (_, decoders, create, bytes) => {
    await decode(bytes);
    const fresh = create();
    await fresh.ready;
    let used: Buffer | undefined;
    const lent = await decoders.borrow();
    lent.call((decoder) => {
      used = memory(decoder);
    });
    expect(used!.equals(memory(fresh))).toBe(true);
    lent.free();
  },
);

it('makes a new decoder for each recording if a library keeps its memory elsewhere', async () => {
  let made = 0;
  const decoders = new Decoders(
    async () => ++made,
    () => undefined,
  );
  for (let round = 1; round <= 3; ++round) {
    const lent = await decoders.borrow();
    expect(lent.call((number) => number)).toBe(round);
    lent.free();
  }
});
