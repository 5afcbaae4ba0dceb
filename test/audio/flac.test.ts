import { readFileSync } from 'node:fs';
import decode from 'audio-decode';
import { expect, it } from 'vitest';
import { blocks } from '../../lib/audio/bytes.js';
import { flacCut } from '../../lib/audio/decode.js';
import { folder } from './support.js';

/** Samples that the decoder gives for FLAC in blocks of a size. */
async function decoded(size: number, cut?: (block: Uint8Array) => number): Promise<number> {
  async function* whole() {
    yield readFileSync(`${folder}tone.flac`) as Uint8Array;
  }
  let count = 0;
  for await (const { channelData } of decode(blocks(whole(), size, cut), 'flac')) count += channelData[0].length;
  return count;
}

it('loses no frame of FLAC, wherever the blocks end', async () => {
  const sizes = [40, 64, 100, 333];
  for (const size of sizes) expect(await decoded(size, flacCut), `${size}`).toBe(66_150);
  // The decoder's fault that the cut is for; when this fails the decoder was repaired and the cut can go.
  const without = await Promise.all(sizes.map((size) => decoded(size)));
  expect(Math.min(...without)).toBeLessThan(66_150);
});
