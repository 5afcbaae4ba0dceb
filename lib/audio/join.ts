/** Reads a whole recording into one array. */
import { openAudio } from './index.js';
import type { AudioInput } from './input.js';
import type { OpenOptions } from './options.js';

/** One array of all chunks. */
export function joinSamples(chunks: readonly Float32Array[]): Float32Array {
  const samples = new Float32Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    samples.set(chunk, at);
    at += chunk.length;
  }
  return samples;
}

/** All samples of a recording, mono at `sampleRate`. Throws what `openAudio` throws. */
export async function readSamples(input: AudioInput, options: OpenOptions): Promise<Float32Array> {
  const source = await openAudio(input, options);
  const chunks: Float32Array[] = [];
  try {
    for await (const chunk of source.chunks()) chunks.push(chunk);
  } finally {
    await source.close();
  }
  return joinSamples(chunks);
}
