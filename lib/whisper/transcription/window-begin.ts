/**
 * Where the next window begins. The model's last timestamp is often late and then lies within the next word, so the
 * window begins in the pause before that word.
 */
import { loudness } from '../decoding/loudness.js';
import type { WhisperModel } from '../decoding/whisper-model.js';
import type { SampleWindow } from './samples.js';
import type { Draft } from './segment-builder.js';

/** Seconds before and after the timestamp within which a pause is searched for. */
const [earlier, later] = [0.5, 0.1];
/**
 * A frame with a lower probability of loudness is quiet. This many quiet frames in a row are a pause; quiet sounds
 * within words are shorter.
 */
const quiet = 0.5;
const pauseFrames = 5;
/** Frames of the pause that the window begins with. */
const kept = 5;

/**
 * Returns the frame to begin in instead of `frame`: `frame` itself if it is in a pause, else one in a nearby pause
 * before the word at `frame`, else one after that word, else `frame`. `loud` has the probability that each frame is not
 * a pause.
 */
export function beginInPause(loud: ArrayLike<number>, frame: number, framesPerSecond: number): number {
  /** The end of the pause at `index`; -1 if there is none. */
  const pauseEnd = (index: number): number => {
    if (!(loud[index] < quiet)) return -1;
    let [from, to] = [index, index];
    while (from > 0 && loud[from - 1] < quiet) from -= 1;
    while (to < loud.length && loud[to] < quiet) to += 1;
    return to - from >= pauseFrames ? to : -1;
  };
  if (pauseEnd(frame) >= 0) return frame;
  for (let index = frame - 1; index > 0 && index >= frame - earlier * framesPerSecond; --index) {
    const end = pauseEnd(index);
    if (end >= 0) return Math.max(1, end - kept);
  }
  for (let index = frame + 1; index <= frame + later * framesPerSecond; ++index) {
    if (pauseEnd(index) >= 0) return index;
  }
  return frame;
}

/**
 * Moves `advance` to a pause: frames of features from sample `begin` to the next window. The window's audio ends at
 * sample `limit`.
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
export function endBy(last: Pick<Draft, 'start' | 'end' | 'words'> | undefined, end: number): boolean {
  if (!last || last.end <= end) return true;
  if (last.start >= end) return false;
  last.end = end;
  for (const word of last.words ?? []) {
    word.start = Math.min(word.start, end);
    word.end = Math.min(word.end, end);
  }
  return true;
}
