/**
 * Finds hallucinations as openai/whisper's transcribe does: segments next to silence with words that are too long, too
 * short or improbable.
 */
import type { Segment, Word } from './types.js';
import { defaultPunctuations } from './words.js';

type WordedSegment = Pick<Segment, 'start' | 'end' | 'words'>;

/** openai/whisper's limits of plausible words: a probability, and durations in seconds. */
const plausible = { probability: 0.15, shortest: 0.133, longest: 2 };

/** How implausible a word is: 0 for a plausible one. */
function anomaly({ probability, start, end }: Word): number {
  const duration = end - start;
  const improbable = probability < plausible.probability ? 1 : 0;
  const tooShort = 15 * Math.max(0, plausible.shortest - duration);
  return improbable + tooShort + Math.max(0, duration - plausible.longest);
}

/** True if the words of a segment look hallucinated. */
export function looksHallucinated(segment: WordedSegment | undefined): boolean {
  if (!segment?.words?.length) return false;
  const marks = defaultPunctuations.prepend + defaultPunctuations.append;
  const words = segment.words.filter(({ word }) => !marks.includes(word)).slice(0, 8);
  const score = words.reduce((sum, word) => sum + anomaly(word), 0);
  return score >= 3 || score + 0.01 >= words.length;
}

const firstWithWords = (segments: readonly WordedSegment[]) => segments.find(({ words }) => words && words.length > 0);

export interface GuardedWindow {
  /** Seconds from the start of the audio. */
  begin: number;
  /** Seconds of audio in the window. */
  duration: number;
  /** The end of a full window. */
  windowEnd: number;
  /** The end of the audio. */
  audioEnd: number;
  /** The end of speech before the window. */
  lastEnd: number;
}

/** The part of a window's text that is kept. */
export interface KeptText {
  /** The number of segments. */
  kept: number;
  /** The new seek time, if silence is skipped. */
  seek: number | null;
  /** True if the window is decoded once more after the silence at its beginning, as if it had not been decoded. */
  again: boolean;
}

/** Returns what is kept of a window's text. */
export function skipHallucinations(
  segments: readonly WordedSegment[],
  { begin, duration, windowEnd, audioEnd, lastEnd }: GuardedWindow,
  threshold: number,
): KeptText {
  const first = firstWithWords(segments);
  if (first && looksHallucinated(first)) {
    const gap = first.start - begin;
    if (gap > threshold) return { kept: 0, seek: begin + gap, again: true };
  }
  let before = lastEnd;
  for (const [index, segment] of segments.entries()) {
    if (!segment.words?.length) continue;
    if (looksHallucinated(segment)) {
      const next = firstWithWords(segments.slice(index + 1));
      const nextStart = next ? next.words![0].start : begin + duration;
      const silenceBefore =
        segment.start - before > threshold || segment.start < threshold || segment.start - begin < 2;
      const silenceAfter =
        nextStart - segment.end > threshold || looksHallucinated(next) || windowEnd - segment.end < 2;
      if (silenceBefore && silenceAfter) {
        const isAtEnd = audioEnd - segment.end < threshold;
        return { kept: index, seek: isAtEnd ? audioEnd : Math.max(begin + 1, segment.start), again: false };
      }
    }
    before = segment.end;
  }
  return { kept: segments.length, seek: null, again: false };
}
