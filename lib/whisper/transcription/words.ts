/** Joins tokens to words with times, as openai/whisper's timing.py and tokenizer.py do. */
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import { splitWords } from '../decoding/split-words.js';
import type { Segment, Word } from './types.js';

const sentenceEnds = '.。!！?？';
/** openai/whisper's. */
export const usualPunctuations = { prepend: '"\'“¿([{-', append: '"\'.。,，!！?？:：”)]}、' };

/** A word that is not assigned to a segment yet. */
export interface TimedWord extends Word {
  tokens: number[];
  /** Log-probability of each token, where they are kept. */
  logprobs?: number[];
}

/** Joins punctuation to the neighbouring words. A mark that was joined stays in the list as an empty word. */
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

/** Joins a window's tokens to words, with times in seconds of the window. */
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

/** Lengths of words in seconds: the median, and the limit of long ones. */
export interface WordLengths {
  median: number;
  longest: number;
}

/** Shortens long words at the ends of sentences, since they contain pauses. */
export function cutLong(words: readonly TimedWord[]): WordLengths {
  const durations = words
    .map(({ start, end }) => end - start)
    .filter((duration) => duration !== 0)
    .sort((a, b) => a - b);
  const middle = durations.length / 2;
  const between = (durations[Math.ceil(middle) - 1] + durations[Math.floor(middle)]) / 2;
  const median = durations.length === 0 ? 0 : Math.min(0.7, between);
  const longest = 2 * median;
  for (let i = 1; i < words.length && durations.length > 0; ++i) {
    const word = words[i];
    if (word.end - word.start <= longest) continue;
    if (sentenceEnds.includes(word.word)) word.end = word.start + longest;
    else if (sentenceEnds.includes(words[i - 1].word)) word.start = word.end - longest;
  }
  return { median, longest };
}

/** Rounds to hundredths of a second. */
const rounded = (seconds: number): number => Math.round(seconds * 100) / 100;

type OpenSegment = Pick<Segment, 'start' | 'end' | 'tokens' | 'words'>;

/** Yields each segment with its words, in seconds from the start of the audio. */
function* distributed(
  segments: readonly OpenSegment[],
  words: readonly TimedWord[],
  isText: (id: number) => boolean,
  offset: number,
): Generator<[OpenSegment, Word[]]> {
  let index = 0;
  for (const segment of segments) {
    const count = segment.tokens.filter(isText).length;
    const found: Word[] = [];
    for (let saved = 0; index < words.length && saved < count; ++index) {
      const { word, start, end, probability, tokens } = words[index];
      if (word !== '') found.push({ word, start: rounded(offset + start), end: rounded(offset + end), probability });
      saved += tokens.length;
    }
    yield [segment, found];
  }
}

/**
 * Adds words to the segments, in seconds from the start of the audio; the window begins at `offset`. Segments begin and
 * end with their words, unless a word is much too long. `lastEnd` is the end of speech before the window. Returns the
 * end of speech in it.
 */
export function addWords(
  segments: readonly OpenSegment[],
  { words, median, longest }: { words: readonly TimedWord[] } & WordLengths,
  isText: (id: number) => boolean,
  offset: number,
  lastEnd: number,
): number {
  let last = lastEnd;
  for (const [segment, found] of distributed(segments, words, isText, offset)) {
    segment.words = found;
    if (found.length === 0) continue;
    const [first, second] = found;
    const final = found[found.length - 1];
    const tooLong = first.end - first.start > longest || (second && second.end - first.start > 2 * longest);
    if (first.end - last > 4 * median && tooLong) {
      if (second && second.end - second.start > longest) {
        first.end = second.start = Math.max(second.end / 2, second.end - longest);
      }
      first.start = Math.max(0, first.end - longest);
    }
    // If the word at the segment's border is too long, the segment's own time is better.
    if (segment.start < first.end && segment.start - 0.5 > first.start) {
      first.start = Math.max(0, Math.min(first.end - median, segment.start));
    } else segment.start = first.start;
    if (segment.end > final.start && segment.end + 0.5 < final.end) {
      final.end = Math.max(final.start + median, segment.end);
    } else segment.end = final.end;
    last = segment.end;
  }
  return last;
}

/** The length of a mark that stands alone, in seconds, if there is room for it. */
const markSeconds = 0.02;

/**
 * Like `addWords`, for words with known pauses: a segment lasts from its first word to its last, and no word begins
 * before the previous one ends.
 */
export function addTimedWords(
  segments: readonly OpenSegment[],
  words: readonly TimedWord[],
  isText: (id: number) => boolean,
  offset: number,
  lastEnd: number,
): number {
  const all = [...distributed(segments, words, isText, offset)];
  const placed = all.flatMap(([, found]) => found);
  let last = lastEnd;
  placed.forEach((word, i) => {
    word.start = Math.max(word.start, last);
    const least = Math.min(word.start + markSeconds, placed[i + 1]?.start ?? Number.POSITIVE_INFINITY);
    word.end = Math.max(word.end, rounded(least), word.start);
    last = word.end;
  });
  for (const [segment, found] of all) {
    segment.words = found;
    if (found.length === 0) continue;
    segment.start = found[0].start;
    segment.end = found[found.length - 1].end;
  }
  return last;
}
