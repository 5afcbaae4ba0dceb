/**
 * Sizes of Whisper: the smallest, one that CPUs run, and the largest, with few and with many decoder layers. The head
 * size is 64.
 */
export interface WhisperShape {
  model: string;
  width: number;
  heads: number;
  vocabulary: number;
}

export const whisperShapes: readonly WhisperShape[] = [
  { model: 'tiny', width: 384, heads: 6, vocabulary: 51865 },
  { model: 'base', width: 512, heads: 8, vocabulary: 51865 },
  { model: 'large-v3', width: 1280, heads: 20, vocabulary: 51866 }, // large-v3-turbo's layers are the same
];

export const headSize = 64;
/** Encoder positions of a window. */
export const windowPositions = 1500;
/** Maximum decoder positions of a text. */
export const textPositions = 448;
