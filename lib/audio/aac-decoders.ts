/**
 * Decoders of AAC, ALAC and MP4. They are under the GPL, so a plain installation does not include them. Users who
 * accept the GPL install them by name; otherwise a separate ffmpeg process decodes these formats.
 */

import type { DecodedChunk } from './wav.js';

export const aacPackages = ['@audio/decode-aac', '@audio/decode-mp4'];

/** Thrown for a known format whose decoder is not installed; ffmpeg may support it. */
export class NoDecoder extends Error {}

/** Decodes a whole recording by other means, for the given reason. */
export type FallbackDecoder = (bytes: AsyncIterable<Uint8Array>, reason: string) => AsyncGenerator<DecodedChunk>;

/** Replaces the error of an import if the package is not installed. */
const orNoDecoder =
  (format: string) =>
  (cause: unknown): never => {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw cause;
    throw new NoDecoder(
      `${format} needs ffmpeg, or the decoders that \`npm install ${aacPackages.join(' ')}\` adds (GPL-2.0)`,
      { cause },
    );
  };

// Where these packages are missing, bundlers would fail: webpack without the comment, esbuild without the `catch`.

/** The decoder of AAC and ALAC. Throws NoDecoder. */
export const aacDecoder = () => import(/* webpackIgnore: true */ '@audio/decode-aac').catch(orNoDecoder('AAC'));

/** The decoder of MP4 files. Throws NoDecoder. */
export const mp4Decoder = () => import(/* webpackIgnore: true */ '@audio/decode-mp4').catch(orNoDecoder('MP4'));

/** The reason why files of a format cannot be decoded without ffmpeg, or null if they can. */
export async function missingDecoder(format: string): Promise<NoDecoder | null> {
  try {
    if (format === 'm4a') await mp4Decoder();
    if (format === 'm4a' || format === 'aac') await aacDecoder();
    return null;
  } catch (error) {
    if (error instanceof NoDecoder) return error;
    throw error;
  }
}
