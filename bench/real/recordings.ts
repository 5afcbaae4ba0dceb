/**
 * The recordings of `npm run bench -- real`, converted to 16 kHz WAV files, so that all systems get the same samples.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { readSamples } from '../../lib/audio/join.js';
import { readAlignment, type TimedWord } from '../../lib/evaluate/alignments.js';
import { findRecordings } from '../../lib/evaluate/evaluate.js';

export interface RealRecording {
  name: string;
  file: string;
  /** The language's code; null without speech, or if it is unknown. */
  language: string | null;
  /** The reference text; null without speech. */
  text: string | null;
  /** The kind of audio: read, noisy, music, silence, ... */
  kind: string;
  seconds: number;
  /** Reference word times; empty if they are unknown. */
  words: TimedWord[];
}

/** An entry of manifest.json. Paths are relative to the manifest; `alignment` is a TextGrid, CTM or JSON file. */
interface Entry {
  file: string;
  language?: string | null;
  text: string | null;
  kind?: string;
  alignment?: string;
}

const sampleRate = 16000;

/** A 16-bit WAV file of mono samples. */
function wav(samples: Float32Array): Buffer {
  const bytes = Buffer.alloc(44 + 2 * samples.length);
  bytes.write('RIFF', 0);
  bytes.writeUInt32LE(36 + 2 * samples.length, 4);
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(sampleRate, 24);
  bytes.writeUInt32LE(2 * sampleRate, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36);
  bytes.writeUInt32LE(2 * samples.length, 40);
  samples.forEach((sample, i) => {
    bytes.writeInt16LE(Math.max(-32768, Math.min(32767, Math.round(32768 * sample))), 44 + 2 * i);
  });
  return bytes;
}

/** Reproducible generated sounds without speech. */
function generatedSounds(): Record<string, Float32Array> {
  const make = (seconds: number, sample: (i: number) => number) =>
    Float32Array.from({ length: seconds * sampleRate }, (_, i) => sample(i));
  const noise = (seed: number) => {
    let state = seed;
    return () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 31 - 1;
    };
  };
  const [white, low, faint] = [noise(1), noise(2), noise(3)];
  let level = 0;
  const tone = (i: number, hertz: number) => Math.sin((2 * Math.PI * hertz * i) / sampleRate);
  return {
    'made: digital silence, 10 s': make(10, () => 0),
    'made: faint noise, 60 s': make(60, () => 0.001 * faint()),
    'made: white noise, 10 s': make(10, () => 0.1 * white()),
    'made: rumble, 10 s': make(10, () => {
      level = 0.995 * level + 0.02 * low();
      return level;
    }),
    'made: mains hum, 10 s': make(10, (i) => 0.05 * (tone(i, 50) + 0.5 * tone(i, 100) + 0.25 * tone(i, 150))),
    'made: beeps, 10 s': make(10, (i) => (i % sampleRate < 0.2 * sampleRate ? 0.2 * tone(i, 1000) : 0)),
  };
}

async function entries(path: string, language: string | null): Promise<{ base: string; all: Entry[] }> {
  const manifest = path.endsWith('.json') ? path : join(path, 'manifest.json');
  if (existsSync(manifest)) {
    const all = JSON.parse(readFileSync(manifest, 'utf8')) as Entry[];
    return { base: dirname(resolve(manifest)), all };
  }
  const found = await findRecordings(path);
  const all = found.map(({ file, reference }) => {
    const text = reference.trim() === '' ? null : reference;
    return { file: resolve(file), language: text === null ? null : language, text };
  });
  return { base: '/', all };
}

/**
 * The recordings of a manifest, or of a folder with NAME.txt (empty: no speech) for each NAME.wav in `language`; and
 * the generated sounds. The converted WAV files are stored in `cache`.
 */
export async function realRecordings(path: string, cache: string, language: string | null): Promise<RealRecording[]> {
  const { base, all } = await entries(path, language);
  mkdirSync(cache, { recursive: true });
  const recordings: RealRecording[] = [];
  const add = async (entry: Entry, key: string, samples: () => Promise<Float32Array>) => {
    const file = join(cache, `${createHash('sha256').update(key).digest('hex').slice(0, 16)}.wav`);
    if (!existsSync(file)) writeFileSync(file, wav(await samples()));
    recordings.push({
      // If two files in different folders have the same name, the second is named by its path.
      name: recordings.some(({ name }) => name === basename(entry.file)) ? entry.file : basename(entry.file),
      file,
      language: entry.language ?? null,
      text: entry.text,
      kind: entry.kind ?? (entry.text === null ? 'no speech' : 'speech'),
      seconds: (statSync(file).size - 44) / 2 / sampleRate,
      words: entry.alignment ? await readAlignment(resolve(base, entry.alignment)) : [],
    });
  };
  for (const entry of all) {
    const file = resolve(base, entry.file);
    const { size, mtimeMs } = statSync(file);
    await add(entry, `${file} ${size} ${mtimeMs}`, () => readSamples(file, { sampleRate }));
  }
  for (const [name, samples] of Object.entries(generatedSounds())) {
    await add({ file: name, text: null, kind: 'made' }, `${name} 1`, async () => samples);
  }
  return recordings;
}
