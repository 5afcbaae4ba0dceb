/**
 * The beginning of the next window: by the model's last timestamp, which is often late and then lies within the next
 * word.
 */
import { loudness } from '../decoding/loudness.js';
import type { WhisperModel } from '../decoding/whisper-model.js';
import type { SampleWindow } from './samples.js';
import type { Draft } from './segment-builder.js';

/** Seconds before the time that was written in which a pause is looked for, and behind it. */
const [earlier, later] = [0.5, 0.1];
/**
 * A frame that is less probably loud than this is quiet, and so many of those make a pause: sounds within words are
 * quiet for less.
 */
const quiet = 0.5;
const pauseFrames = 5;
/** Frames of a pause that a window begins with. */
const kept = 5;

/**
 * The frame to begin in, instead of `place`: `place` itself if it is in a pause; else a nearby pause before the word at
 * `place`; else behind that word; else `place`. `loud` is the probability that each frame is not a pause.
 */
export function beginInPause(loud: ArrayLike<number>, place: number, framesPerSecond: number): number {
  /** The frame in which a pause ends that holds `frame`; -1 where that is in none. */
  const pauseEnd = (frame: number): number => {
    if (!(loud[frame] < quiet)) return -1;
    let [from, to] = [frame, frame];
    while (from > 0 && loud[from - 1] < quiet) from -= 1;
    while (to < loud.length && loud[to] < quiet) to += 1;
    return to - from >= pauseFrames ? to : -1;
  };
  if (pauseEnd(place) >= 0) return place;
  for (let frame = place - 1; frame > 0 && frame >= place - earlier * framesPerSecond; --frame) {
    const end = pauseEnd(frame);
    if (end >= 0) return Math.max(1, end - kept);
  }
  for (let frame = place + 1; frame <= place + later * framesPerSecond; ++frame) {
    if (pauseEnd(frame) >= 0) return frame;
  }
  return place;
}

/**
 * `advance`, frames of the features from sample `begin` on, moved to a pause. Nothing of the window is behind sample
 * `limit`.
 */
export function advanceToPause(
  { checkpoint: { preprocessor, config }, buffers }: WhisperModel,
  samples: SampleWindow,
  begin: number,
  advance: number,
  limit: number,
): Promise<number> {
  const { hop, fftSize, sampleRate } = preprocessor;
  const place = advance >> 1;
  return buffers.use(async (window) => {
    samples.fill(window, begin - fftSize / 2, limit);
    const moved = beginInPause(loudness(window, config.sourcePositions, preprocessor), place, sampleRate / hop / 2);
    return moved === place ? advance : 2 * moved;
  });
}

/**
 * Ends a window's last segment where the next window begins, at the latest; false where it lies behind that place, and
 * would be heard twice.
 */
export function endBy(last: Pick<Draft, 'start' | 'end' | 'words'> | undefined, place: number): boolean {
  if (!last || last.end <= place) return true;
  if (last.start >= place) return false;
  last.end = place;
  for (const word of last.words ?? []) {
    word.start = Math.min(word.start, place);
    word.end = Math.min(word.end, place);
  }
  return true;
}
