/** Audio with parts removed, and the mapping back to the original times. */
import type { AudioSource } from './source.js';

/** A kept part, in samples: from `begin` of the recording; `at` is its position in the kept audio. */
export interface Piece {
  begin: number;
  at: number;
  length: number;
}

/** Parts of a recording, concatenated. */
export interface PiecedSource extends AudioSource {
  /** Samples of the recording read so far, including removed ones. */
  readonly position: number;
  /** Positions in the output that no window may cross; each is known before the sample after it. */
  readonly breaks: readonly number[];
  /** Maps a time in the output to the recording, in seconds; at a boundary, an end belongs to the first piece. */
  toRecording(seconds: number, isEnd: boolean): number;
}

/** Maps a position in the kept audio to the recording, in samples. */
export function recordingPosition(pieces: readonly Piece[], position: number, isEnd: boolean): number {
  if (pieces.length === 0) return position;
  let [low, high] = [0, pieces.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    // A tolerance of a thousandth of a sample: times are rounded, and must not fall into the previous piece.
    const before = isEnd ? pieces[middle].at < position - 1e-3 : pieces[middle].at <= position + 1e-3;
    if (before) low = middle;
    else high = middle - 1;
  }
  const { begin, at } = pieces[low];
  return begin + Math.max(0, position - at);
}

/** The first break after a position, or infinity. */
export function nextBreak(breaks: readonly number[], position: number): number {
  return breaks.find((one) => one > position) ?? Number.POSITIVE_INFINITY;
}
