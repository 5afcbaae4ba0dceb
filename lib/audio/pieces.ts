/** Audio of which parts were left out, and the way back to the times that the rest had. */
import type { AudioSource } from './source.js';

/** A part that was kept, in samples: from `begin` of the recording on; `at` is its place among all that was kept. */
export interface Piece {
  begin: number;
  at: number;
  length: number;
}

/** Parts of a recording, one after another. */
export interface PiecedSource extends AudioSource {
  /** Samples of the recording read so far, those left out among them. */
  readonly heard: number;
  /**
   * Places in what is given where something new begins that no window may run into; each is there before the sample
   * behind it.
   */
  readonly breaks: readonly number[];
  /**
   * The recording's time of a time in what is given, both in seconds; where two pieces meet, an end belongs to the
   * first.
   */
  toRecording(seconds: number, isEnd: boolean): number;
}

/** The recording's place of a place in what was kept, in samples. */
export function recordingPlace(pieces: readonly Piece[], place: number, isEnd: boolean): number {
  if (pieces.length === 0) return place;
  let [low, high] = [0, pieces.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    // A thousandth of a sample: times are rounded, and must not fall into the piece before.
    const before = isEnd ? pieces[middle].at < place - 1e-3 : pieces[middle].at <= place + 1e-3;
    if (before) low = middle;
    else high = middle - 1;
  }
  const { begin, at } = pieces[low];
  return begin + Math.max(0, place - at);
}

/** The first break behind a place, or infinity. */
export function nextBreak(breaks: readonly number[], place: number): number {
  return breaks.find((one) => one > place) ?? Number.POSITIVE_INFINITY;
}
