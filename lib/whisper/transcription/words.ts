/** Joins tokens to words with times, as openai/whisper's timing.py and tokenizer.py do. */
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import { splitWords } from '../decoding/split-words.js';
import type { Segment, Word } from './types.js';

const sentenceEnds = '.。!！?？';
/** Punctuation that is joined to the word after it and before it, by default. It is that of openai/whisper. */
export const defaultPunctuations = { prepend: '"\'“¿([{-', append: '"\'.。,，!！?？:：”)]}、' };

/** A word with its tokens, before it is assigned to a segment. */
export interface TimedWord extends Word {
  tokens: number[];
  /** The log-probability of each token, if needed. */
  logprobs?: number[];
}

/** Joins punctuation to the adjacent words, in place. Joined marks remain in the list as empty words. */
export function mergePunctuations(words: readonly TimedWord[], prepend: string, append: string): void {
  const join = (to: TimedWord, from: TimedWord, before: boolean) => {
    to.word = before ? from.word + to.word : to.word + from.word;
    to.tokens = before ? [...from.tokens, ...to.tokens] : [...to.tokens, ...from.tokens];
    from.word = '';
    from.tokens = [];
  };
  let following = words.length - 1;
  for (let i = words.length - 2; i >= 0; --i) {
    const { word } = words[i];
    if (word.startsWith(' ') && prepend.includes(word.trim())) join(words[following], words[i], true);
    else following = i;
  }
  let previous = 0;
  for (let i = 1; i < words.length; ++i) {
    const { word } = words[i];
    if (!words[previous].word.endsWith(' ') && append.includes(word)) join(words[previous], words[i], false);
    else previous = i;
  }
}

/** A token with its probability and its times in seconds of the window. */
export interface TimedToken {
  id: number;
  probability: number;
  start: number;
  end: number;
}

/** Joins the tokens of a window to words. */
export function joinTokens(
  tokens: readonly TimedToken[],
  language: string | null,
  tokenizer: Pick<WhisperTokenizer, 'decode'>,
): TimedWord[] {
  let next = 0;
  return splitWords(
    tokens.map(({ id }) => id),
    language,
    tokenizer,
  ).map(({ text, tokens: ids }): TimedWord => {
    const parts = tokens.slice(next, next + ids.length);
    next += ids.length;
    return {
      word: text,
      tokens: ids,
      start: parts[0].start,
      end: parts[parts.length - 1].end,
      probability: parts.reduce((sum, { probability }) => sum + probability, 0) / parts.length,
    };
  });
}

/** openai/whisper's limits of words. */
const limits = {
  /** The median duration of words counts as at most this many seconds. */
  median: 0.7,
  /** A pause together with the word after it is long if it exceeds this many medians. */
  pause: 4,
  /** A segment's timestamp replaces the time of its first or last word if they differ by more than this, in seconds. */
  difference: 0.5,
};

/** Durations of words in seconds. */
export interface WordDurations {
  median: number;
  /** Longer words are considered too long. */
  maximum: number;
}

/** Shortens long words at the ends and starts of sentences, which contain pauses, in place. */
export function shortenLongWords(words: readonly TimedWord[]): WordDurations {
  const durations = words
    .map(({ start, end }) => end - start)
    .filter((duration) => duration !== 0)
    .sort((a, b) => a - b);
  const middle = durations.length / 2;
  const between = (durations[Math.ceil(middle) - 1] + durations[Math.floor(middle)]) / 2;
  const median = durations.length === 0 ? 0 : Math.min(limits.median, between);
  const maximum = 2 * median;
  for (let i = 1; i < words.length && durations.length > 0; ++i) {
    const word = words[i];
    if (word.end - word.start <= maximum) continue;
    if (sentenceEnds.includes(word.word)) word.end = word.start + maximum;
    else if (sentenceEnds.includes(words[i - 1].word)) word.start = word.end - maximum;
  }
  return { median, maximum };
}

/** Rounds to hundredths of a second. */
const rounded = (seconds: number): number => Math.round(seconds * 100) / 100;

type OpenSegment = Pick<Segment, 'start' | 'end' | 'tokens' | 'words'>;

/** Yields each segment with its words, whose times are seconds from the start of the audio. */
function* distributed(
  segments: readonly OpenSegment[],
  words: readonly TimedWord[],
  isText: (id: number) => boolean,
  offset: number,
): Generator<[OpenSegment, Word[]]> {
  let index = 0;
  for (const segment of segments) {
    const count = segment.tokens.filter(isText).length;
    const segmentWords: Word[] = [];
    for (let assigned = 0; index < words.length && assigned < count; ++index) {
      const { word, start, end, probability, tokens } = words[index];
      const times = { start: rounded(offset + start), end: rounded(offset + end) };
      if (word !== '') segmentWords.push({ word, ...times, probability });
      assigned += tokens.length;
    }
    yield [segment, segmentWords];
  }
}

/**
 * Adds words to segments, as openai/whisper does. Times are seconds from the start of the audio; the window begins at
 * `offset`. Segments begin and end with their words, unless such a word is much too long. `lastEnd` is the end of
 * speech before the window. Returns the end of speech in the window.
 */
export function addWords(
  segments: readonly OpenSegment[],
  { words, median, maximum }: { words: readonly TimedWord[] } & WordDurations,
  isText: (id: number) => boolean,
  offset: number,
  lastEnd: number,
): number {
  let last = lastEnd;
  for (const [segment, segmentWords] of distributed(segments, words, isText, offset)) {
    segment.words = segmentWords;
    if (segmentWords.length === 0) continue;
    const [first, second] = segmentWords;
    const final = segmentWords[segmentWords.length - 1];
    const tooLong = first.end - first.start > maximum || (second && second.end - first.start > 2 * maximum);
    if (first.end - last > limits.pause * median && tooLong) {
      if (second && second.end - second.start > maximum) {
        first.end = second.start = Math.max(second.end / 2, second.end - maximum);
      }
      first.start = Math.max(0, first.end - maximum);
    }
    // If the first or last word is too long, the time of the segment's timestamp is better.
    if (segment.start < first.end && segment.start - limits.difference > first.start) {
      first.start = Math.max(0, Math.min(first.end - median, segment.start));
    } else segment.start = first.start;
    if (segment.end > final.start && segment.end + limits.difference < final.end) {
      final.end = Math.max(final.start + median, segment.end);
    } else segment.end = final.end;
    last = segment.end;
  }
  return last;
}

/** The end of the last word of segments; without words, the end of the last segment. Undefined if there are none. */
export function endOfSpeech(segments: readonly Pick<Segment, 'end' | 'words'>[]): number | undefined {
  const lastWord = segments.flatMap(({ words = [] }) => words).at(-1);
  return lastWord?.end ?? segments.at(-1)?.end;
}

/** The duration of separate punctuation in seconds, if there is room for it. */
const markSeconds = 0.02;

/**
 * Like `addWords`, for words with known pauses: a segment lasts from its first to its last word, and no word begins
 * before the end of the previous one.
 */
export function addTimedWords(
  segments: readonly OpenSegment[],
  words: readonly TimedWord[],
  isText: (id: number) => boolean,
  offset: number,
  lastEnd: number,
): number {
  const assigned = [...distributed(segments, words, isText, offset)];
  const allWords = assigned.flatMap(([, segmentWords]) => segmentWords);
  let last = lastEnd;
  allWords.forEach((word, i) => {
    word.start = Math.max(word.start, last);
    const minimumEnd = Math.min(word.start + markSeconds, allWords[i + 1]?.start ?? Number.POSITIVE_INFINITY);
    word.end = Math.max(word.end, rounded(minimumEnd), word.start);
    last = word.end;
  });
  for (const [segment, segmentWords] of assigned) {
    segment.words = segmentWords;
    if (segmentWords.length === 0) continue;
    segment.start = segmentWords[0].start;
    segment.end = segmentWords[segmentWords.length - 1].end;
  }
  return last;
}
