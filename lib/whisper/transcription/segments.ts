/** From a window's tokens to segments with times, and to where the next window begins: openai/whisper's rules. */

import { type GenerationConfig, timestampSeconds } from '../checkpoint/config.js';

/** Frames (of 10 ms) of one timestamp step. */
const timestampFrames = 2;

/** A segment's tokens with times in seconds from the start of its window. */
export interface WindowSegment {
  start: number;
  end: number;
  tokens: number[];
}

export interface WindowResult {
  segments: WindowSegment[];
  /** Frames to go forward for the next window. */
  advance: number;
  /** True where a single timestamp ends the text: no speech follows in the window. */
  loneEnd: boolean;
}

/**
 * Splits at pairs of timestamps. A window that ends in text cut off is decoded again from the last complete segment's
 * end; one that ends in a lone timestamp, or has no pairs, was used up. `frames` are the window's frames of sound, its
 * padding not counted.
 */
export function splitWindow(tokens: readonly number[], frames: number, generation: GenerationConfig): WindowResult {
  const { timestampBegin, timestampEnd } = generation;
  const isTime = (id: number): boolean => id >= timestampBegin && id < timestampEnd;
  const isTimestamp = (index: number): boolean => index >= 0 && index < tokens.length && isTime(tokens[index]);
  const seconds = (index: number): number => (tokens[index] - timestampBegin) * timestampSeconds;
  const last = tokens.length - 1;
  const loneEnd = isTimestamp(last) && !isTimestamp(last - 1);
  const cuts: number[] = [];
  for (let i = 1; i <= last; ++i) if (isTimestamp(i - 1) && isTimestamp(i)) cuts.push(i);
  if (cuts.length === 0) {
    let end = (frames * timestampSeconds) / timestampFrames;
    const lastTimestamp = tokens.findLastIndex(isTime);
    if (lastTimestamp >= 0 && tokens[lastTimestamp] !== timestampBegin) end = seconds(lastTimestamp);
    // The reference lets such a segment begin with its window even where the model wrote when it begins; that is the
    // better time.
    const start = isTimestamp(0) && lastTimestamp > 0 ? seconds(0) : 0;
    return { segments: [{ start, end, tokens: [...tokens] }], advance: frames, loneEnd };
  }
  if (loneEnd) cuts.push(tokens.length);
  const segments: WindowSegment[] = [];
  let from = 0;
  for (const cut of cuts) {
    segments.push({ start: seconds(from), end: seconds(cut - 1), tokens: tokens.slice(from, cut) });
    from = cut;
  }
  const advance = loneEnd ? frames : (tokens[from - 1] - timestampBegin) * timestampFrames;
  // A model can write an end of 0: going on is better than decoding the same window forever.
  return { segments, advance: advance > 0 ? Math.min(advance, frames) : frames, loneEnd };
}

/** All segments of a window that is not decoded again: text that is cut off at its end lasts until there. */
export function splitWhole(
  tokens: readonly number[],
  frames: number,
  generation: GenerationConfig,
): Pick<WindowResult, 'segments'> {
  const { segments } = splitWindow(tokens, frames, generation);
  const rest = tokens.slice(segments.reduce((count, segment) => count + segment.tokens.length, 0));
  const isTime = (id: number) => id >= generation.timestampBegin && id < generation.timestampEnd;
  if (rest.every(isTime)) return { segments };
  const times = rest.filter(isTime).map((id) => (id - generation.timestampBegin) * timestampSeconds);
  const end = (frames * timestampSeconds) / timestampFrames;
  const start = Math.min(times[0] ?? segments.at(-1)?.end ?? 0, end);
  return { segments: [...segments, { start, end: times.length > 1 ? times[times.length - 1] : end, tokens: rest }] };
}
