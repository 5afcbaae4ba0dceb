/**
 * Aligns words with frames, from the attention of their tokens and the loudness. Each frame of a window belongs to a
 * word or to a pause before, between or after words. The Viterbi algorithm finds the most probable path of this hidden
 * Markov model.
 *
 * - A token's share of a frame's attention is the probability that the token is spoken in that frame.
 * - The probability of a word is that of its most probable token. It increases with the loudness of the frame.
 * - The probability of a pause decreases with the loudness. Attention from punctuation and timestamps, which are not
 *   spoken, increases it.
 *
 * The constants were fitted to half of the recordings in docs/design-whisper.md ("Words").
 */
import type { TextAttention } from '../model/search.js';

/** A half-open range. */
export interface Span {
  start: number;
  end: number;
}

/** Added to each frame's sum of attention, as a share of the median sum: attention that belongs to no token. */
const unattendedShare = 0.2;
/** Added to a token's share of attention, so that no frame excludes a word. */
const shareFloor = 0.03;
/** The weight of loudness relative to attention. */
const loudnessWeight = 0.7;
/** The log-probability of a pause in full silence. */
const pauseLog = Math.log(0.2);
/** Subtracted from the log-probability when a pause between words begins. */
const pauseCost = 0.5;
/**
 * Weight and cost of unattended frames in a pause. Sounds that the text omits ("um", a breath) are loud, but no token
 * attends to them. The first frame of a pause cannot be such a sound, since the ends of words get little attention too.
 */
const unattendedWeight = 3;
const unattendedCost = 0.9;
/** Subtracted from the log-probability of a pause that is based on attention from punctuation. */
const punctuationCost = 0.3;
/** Frames by which attention precedes the audio, and the maximum length of a word's fading end. */
const attentionLead = 1.5;
const maximumFade = 3;

/** Returns each frame's sum of weights, and the median of these sums. */
function frameSums({ weights, rows, frames }: TextAttention): { sums: Float64Array; median: number } {
  const sums = new Float64Array(frames);
  for (let row = 0; row < rows; ++row) {
    for (let frame = 0; frame < frames; ++frame) sums[frame] += weights[row * frames + frame];
  }
  return { sums, median: Float64Array.from(sums).sort()[frames >> 1] };
}

/** Returns, for each frame, the logarithm of the share of attention that belongs to none of the tokens. */
function unattendedShares(sums: Float64Array): Float64Array {
  const mean = sums.reduce((a, b) => a + b, 0) / sums.length;
  return sums.map((sum) => Math.log(Math.max(mean / (sum + mean), 1e-12)));
}

/** Returns the maximum weight of rows `from` to `to` (exclusive) in each frame; null if there are no rows. */
function maximumOfRows({ weights, frames }: TextAttention, from: number, to: number): Float32Array | null {
  if (from >= to) return null;
  const maximum = weights.slice(from * frames, (from + 1) * frames);
  for (let row = from + 1; row < to; ++row) {
    for (let frame = 0; frame < frames; ++frame) {
      const weight = weights[row * frames + frame];
      if (weight > maximum[frame]) maximum[frame] = weight;
    }
  }
  return maximum;
}

/**
 * Back-pointers, as bits: the pause state follows the previous word (otherwise the pause); the first frame of a word
 * follows the pause (otherwise the previous word); a further frame of a word follows a further one (otherwise the
 * first).
 */
const [pauseAfterWord, wordAfterPause, furtherAfterFurther] = [1, 2, 4];

/**
 * Returns the frames of each word. `words` are the words' ranges of rows of the attention, in order. `loudness` is the
 * probability, from 0 to 1, that a frame is not a pause, judged by its loudness.
 */
export function alignWords(attention: TextAttention, words: readonly Span[], loudness: ArrayLike<number>): Span[] {
  const { rows, frames } = attention;
  const count = words.length;
  if (count === 0) return [];
  // Each word needs at least two frames.
  if (frames < 2 * count) {
    return words.map((_, i) => ({ start: (i * frames) / count, end: ((i + 1) * frames) / count }));
  }
  const { sums, median } = frameSums(attention);
  const totals = sums.map((sum) => Math.max(sum + unattendedShare * median, 1e-12));
  const loud = Float64Array.from({ length: frames }, (_, i) => loudnessWeight * Math.log(loudness[i]));
  const quiet = Float64Array.from({ length: frames }, (_, i) => loudnessWeight * Math.log(1 - loudness[i]) + pauseLog);
  const unattended = unattendedShares(sums);
  // If there is a prefix, its words may be spoken before the first word.
  const hasPrefix = attention.before > 0;
  const spoken = words.map(({ start, end }) => maximumOfRows(attention, start, end)!);
  // Rows between two words are punctuation and timestamps.
  const gapEnds = [...words.map(({ start }) => start), rows];
  const punctuation = gapEnds.map((end, i) => maximumOfRows(attention, i === 0 ? 0 : words[i - 1].end, end));
  // The maximum log-probability of each state so far: the pause before a word, the word's first frame, further frames.
  const pause = new Float64Array(count + 1).fill(Number.NEGATIVE_INFINITY);
  const first = new Float64Array(count + 1).fill(Number.NEGATIVE_INFINITY);
  const further = new Float64Array(count + 1).fill(Number.NEGATIVE_INFINITY);
  const pointers = new Uint8Array(frames * (count + 1));
  for (let frame = 0; frame < frames; ++frame) {
    // From the last word to the first, since each state needs the values that precede it at the previous frame.
    for (let word = count; word >= 0; --word) {
      const previousWord = word === 0 ? (frame === 0 ? 0 : Number.NEGATIVE_INFINITY) : further[word - 1];
      const previousPause = pause[word];
      let pointer = 0;
      if (word < count) {
        const wordLog = Math.log(spoken[word][frame] / totals[frame] + shareFloor) + loud[frame];
        if (first[word] < further[word]) pointer |= furtherAfterFurther;
        further[word] = Math.max(first[word], further[word]) + wordLog;
        if (previousPause > previousWord) pointer |= wordAfterPause;
        first[word] = Math.max(previousPause, previousWord) + wordLog;
      }
      const marks = punctuation[word];
      const marksLog = marks
        ? Math.log(marks[frame] / totals[frame] + shareFloor) - punctuationCost
        : Number.NEGATIVE_INFINITY;
      const silenceLog = Math.max(quiet[frame], marksLog);
      const soundLog = unattendedWeight * unattended[frame] - unattendedCost + loud[frame];
      const begins = previousWord - (word === 0 ? 0 : pauseCost) + silenceLog;
      const continues = previousPause + Math.max(silenceLog, soundLog);
      if (begins > continues) pointer |= pauseAfterWord;
      pause[word] = Math.max(begins, continues);
      if (word === 0 && hasPrefix) {
        const prefixLog = unattended[frame] + loud[frame];
        pause[word] = Math.max(previousWord, previousPause) + Math.max(silenceLog, prefixLog);
      }
      pointers[frame * (count + 1) + word] = pointer;
    }
  }
  return shifted(backtrack(pointers, frames, count, pause[count] > further[count - 1]), frames);
}

/** Follows the back-pointers from the last frame. Returns the frames of the words on the best path. */
function backtrack(pointers: Uint8Array, frames: number, count: number, endsInPause: boolean): Span[] {
  const spans = Array.from({ length: count }, (): Span => ({ start: 0, end: frames }));
  let word = endsInPause ? count : count - 1;
  let inPause = endsInPause;
  let inFirst = false;
  for (let frame = frames - 1; frame >= 0; --frame) {
    const pointer = pointers[frame * (count + 1) + word];
    if (inPause) {
      if ((pointer & pauseAfterWord) === 0 || word === 0) continue;
      word -= 1;
      inPause = false;
      spans[word].end = frame;
    } else if (inFirst) {
      spans[word].start = frame;
      inFirst = false;
      if (pointer & wordAfterPause) inPause = true;
      else if (word > 0) {
        word -= 1;
        spans[word].end = frame;
      }
    } else if ((pointer & furtherAfterFurther) === 0) inFirst = true;
  }
  return spans;
}

/** Corrects for attention that precedes the audio, and for words that fade into pauses. */
function shifted(spans: readonly Span[], frames: number): Span[] {
  return spans.map(({ start, end }, i) => {
    const from = i === 0 ? 0 : spans[i - 1].end;
    const to = i === spans.length - 1 ? frames : spans[i + 1].start;
    return {
      start: start > from || i === 0 ? start : Math.min(start + attentionLead, frames),
      end: end < to ? end + Math.min(maximumFade, (to - end) / 2) : Math.min(end + attentionLead, frames),
    };
  });
}
