/** Splits a window's tokens into segments with times, and finds where the next window begins, as in openai/whisper. */
import { type GenerationConfig, timestampSeconds } from '../checkpoint/config.js';

/** Frames (of 10 ms) of one timestamp step. */
const timestampFrames = 2;

/** A segment's tokens, with times in seconds from the start of the window. */
export interface WindowSegment {
  start: number;
  end: number;
  tokens: number[];
}

/** A window's tokens, split into segments. */
export interface SplitWindow {
  segments: WindowSegment[];
  /** The number of frames from the start of this window to the next. */
  advance: number;
  /** True if the text ends with a single timestamp: no speech follows in the window. */
  loneEnd: boolean;
}

/**
 * Splits at pairs of timestamps. If the text after the last pair is cut off, the next window begins at that pair's
 * time; if the text ends with a single timestamp, or there are no pairs, it begins after this window. `frames` is the
 * number of frames with audio, without padding.
 */
export function splitWindow(tokens: readonly number[], frames: number, generation: GenerationConfig): SplitWindow {
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
    // openai/whisper sets the start to that of the window, even if there is a start timestamp, which is more accurate.
    const start = isTimestamp(0) && lastTimestamp > 0 ? seconds(0) : 0;
    return { segments: [{ start, end, tokens: [...tokens] }], advance: frames, loneEnd };
  }
  if (loneEnd) cuts.push(tokens.length);
  const segments: WindowSegment[] = [];
  let begin = 0;
  for (const cut of cuts) {
    segments.push({ start: seconds(begin), end: seconds(cut - 1), tokens: tokens.slice(begin, cut) });
    begin = cut;
  }
  const advance = loneEnd ? frames : (tokens[begin - 1] - timestampBegin) * timestampFrames;
  // If the last timestamp is 0, the next window begins after this one, since it would be decoded forever otherwise.
  return { segments, advance: advance > 0 ? Math.min(advance, frames) : frames, loneEnd };
}

/**
 * Splits a window whose end is not decoded again: text that is cut off becomes a segment until the end of the window.
 */
export function splitWhole(
  tokens: readonly number[],
  frames: number,
  generation: GenerationConfig,
): Pick<SplitWindow, 'segments'> {
  const { segments } = splitWindow(tokens, frames, generation);
  const rest = tokens.slice(segments.reduce((count, segment) => count + segment.tokens.length, 0));
  const isTime = (id: number) => id >= generation.timestampBegin && id < generation.timestampEnd;
  if (rest.every(isTime)) return { segments };
  const times = rest.filter(isTime).map((id) => (id - generation.timestampBegin) * timestampSeconds);
  const end = (frames * timestampSeconds) / timestampFrames;
  const start = Math.min(times[0] ?? segments.at(-1)?.end ?? 0, end);
  return { segments: [...segments, { start, end: times.length > 1 ? times[times.length - 1] : end, tokens: rest }] };
}
