/**
 * Moves the start of the next window to a pause. The model's last timestamp is often late, within the next word; then
 * the window begins in the pause before that word.
 */
import { loudness } from '../decoding/loudness.js';
import type { WhisperModel } from '../decoding/whisper-model.js';
import type { SampleWindow } from './samples.js';
import type { Draft } from './segment-builder.js';

/** Seconds before and after the timestamp within which a pause is searched for. */
const [earlier, later] = [0.5, 0.1];
/** A frame is quiet if its probability of speech (`loudness`) is lower. */
const quiet = 0.5;
/** The minimum length of a pause in quiet frames. Quiet sounds within words are shorter. */
const pauseFrames = 5;
/** The number of frames of the pause that are kept at the start of the window. */
const keptFrames = 5;

/**
 * Returns the frame where the window begins instead of `frame`: `frame` itself if it is in a pause, otherwise a frame
 * in a nearby pause before the word at `frame`, or else after it. Without a pause it is `frame`. `speech` has the
 * probability that each frame is not a pause.
 */
export function beginInPause(speech: ArrayLike<number>, frame: number, framesPerSecond: number): number {
  /** Returns the end of the pause at `index`; -1 if there is none. */
  const pauseEnd = (index: number): number => {
    if (!(speech[index] < quiet)) return -1;
    let [from, to] = [index, index];
    while (from > 0 && speech[from - 1] < quiet) from -= 1;
    while (to < speech.length && speech[to] < quiet) to += 1;
    return to - from >= pauseFrames ? to : -1;
  };
  if (pauseEnd(frame) >= 0) return frame;
  for (let index = frame - 1; index > 0 && index >= frame - earlier * framesPerSecond; --index) {
    const end = pauseEnd(index);
    if (end >= 0) return Math.max(1, end - keptFrames);
  }
  for (let index = frame + 1; index <= frame + later * framesPerSecond; ++index) {
    if (pauseEnd(index) >= 0) return index;
  }
  return frame;
}

/**
 * Moves the start of the next window to a pause. `advance` and the result are frames of features from sample `begin`;
 * the window's audio ends at sample `limit`.
 */
export function advanceToPause(
  { checkpoint: { preprocessor, config }, buffers }: WhisperModel,
  samples: SampleWindow,
  begin: number,
  advance: number,
  limit: number,
): Promise<number> {
  const { hop, fftSize, sampleRate } = preprocessor;
  const frame = advance >> 1;
  return buffers.use(async (window) => {
    samples.fill(window, begin - fftSize / 2, limit);
    const moved = beginInPause(loudness(window, config.sourcePositions, preprocessor), frame, sampleRate / hop / 2);
    return moved === frame ? advance : 2 * moved;
  });
}

/**
 * Cuts a window's last segment off at `end` seconds, where the next window begins. Returns false if the segment begins
 * later, so that it would be decoded twice.
 */
export function cutOff(last: Pick<Draft, 'start' | 'end' | 'words'> | undefined, end: number): boolean {
  if (!last || last.end <= end) return true;
  if (last.start >= end) return false;
  last.end = end;
  for (const word of last.words ?? []) {
    word.start = Math.min(word.start, end);
    word.end = Math.min(word.end, end);
  }
  return true;
}
