import { spawnSync } from 'node:child_process';
import { type AudioInput, type OpenOptions, openAudio } from '../../lib/audio/index.js';
import { joinSamples } from '../../lib/audio/join.js';

export { joinSamples as joined };

export const folder = new URL('../fixtures/audio/', import.meta.url).pathname;
export const hasFfmpeg = spawnSync('ffmpeg', ['-version']).status === 0;

/** All samples, and the longest chunk. */
export async function readAll(input: AudioInput, options: OpenOptions = {}) {
  const source = await openAudio(input, options);
  const chunks: Float32Array[] = [];
  for await (const chunk of source.chunks()) chunks.push(chunk);
  return {
    samples: joinSamples(chunks),
    duration: source.duration,
    warnings: source.warnings,
    incomplete: source.incomplete,
    longest: Math.max(...chunks.map(({ length }) => length)),
  };
}

/** Recordings that the bundled models were never trained on. */
export const heldout = new URL('../fixtures/heldout/', import.meta.url).pathname;
export const samplesOf = async (file: string): Promise<Float32Array> => (await readAll(heldout + file)).samples;

/** How strong a frequency is in the samples: the amplitude of that sine. */
export function amplitude(samples: Float32Array, hertz: number, rate = 16000): number {
  let [real, imaginary] = [0, 0];
  samples.forEach((sample, i) => {
    real += sample * Math.cos((2 * Math.PI * hertz * i) / rate);
    imaginary += sample * Math.sin((2 * Math.PI * hertz * i) / rate);
  });
  return (2 * Math.hypot(real, imaginary)) / samples.length;
}

export const sine = (hertz: number, rate: number, count = rate) =>
  Float32Array.from({ length: count }, (_, i) => Math.sin((2 * Math.PI * hertz * i) / rate));

/** Decibels by which `actual` is nearer to `expected` than silence is. */
export function ratio(actual: Float32Array, expected: Float32Array): number {
  let [signal, noise] = [0, 0];
  expected.forEach((sample, i) => {
    signal += sample ** 2;
    noise += (actual[i] - sample) ** 2;
  });
  return 10 * Math.log10(signal / noise);
}

/** Place of the first sample that differs, or -1; to compare arrays whose printed difference would take minutes. */
export function firstDifference(actual: Float32Array, expected: Float32Array): number {
  if (actual.length !== expected.length) return Math.min(actual.length, expected.length);
  return actual.findIndex((sample, i) => sample !== expected[i]);
}

/** What openai/whisper's call of ffmpeg gives. */
export function decodedByFfmpeg(bytes: Uint8Array): Float32Array {
  const args = ['-v', 'quiet', '-i', 'pipe:0', '-f', 's16le', '-ac', '1', '-ar', '16000', '-'];
  const { stdout } = spawnSync('ffmpeg', args, { input: bytes, maxBuffer: 1 << 28 });
  return Float32Array.from({ length: stdout.length >> 1 }, (_, i) => stdout.readInt16LE(2 * i) / 32768);
}

/** A WAV file of 16-bit samples, of one channel or of several. */
export function wavOf(given: Float32Array | readonly Float32Array[], sampleRate = 16000): Buffer {
  const samples = given instanceof Float32Array ? [given] : given;
  const channels = samples.length;
  const bytes = Buffer.alloc(44 + samples[0].length * channels * 2);
  bytes.write('RIFF    WAVEfmt ', 0, 'latin1');
  bytes.writeUInt32LE(bytes.length - 8, 4);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(channels, 22);
  bytes.writeUInt32LE(sampleRate, 24);
  bytes.writeUInt32LE(sampleRate * channels * 2, 28);
  bytes.writeUInt16LE(channels * 2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36, 'latin1');
  bytes.writeUInt32LE(bytes.length - 44, 40);
  samples.forEach((channel, c) => {
    channel.forEach((sample, i) => {
      bytes.writeInt16LE(Math.round(sample * 32767), 44 + 2 * (i * channels + c));
    });
  });
  return bytes;
}
