/**
 * Aligns words with frames, from the attention of their tokens and the loudness. Each frame of a window belongs to a
 * word or to a pause between two words. Viterbi's algorithm finds the most probable path of this hidden Markov model.
 *
 * A token's share of a frame's attention is the probability that the token is spoken there. A word is as probable as
 * its most probable token, more so the louder the frame; a pause is more probable the quieter the frame. Punctuation
 * and timestamps are not spoken: attention from them may be a pause too. The constants were chosen on recordings other
 * than those of the figures in docs/design-whisper.md.
 */
import type { TextAttention } from '../model/search.js';

/** The beginning and the end of something, in frames. */
export interface Span {
  start: number;
  end: number;
}

/** Attention that belongs to no token, as a share of the median frame's sum. */
const unattendedShare = 0.2;
/** Added to a token's share, so that no frame excludes a word. */
const floor = 0.03;
/** The weight of loudness beside attention. */
const loudnessWeight = 0.7;
/** The probability of a pause in full silence, relative to a word's; and the cost of a pause. */
const pauseShare = Math.log(0.2);
const pauseCost = 0.5;
/**
 * Sounds that the text leaves out ("um", a breath) are loud, but no token attends to them. The weight of such frames in
 * a pause, and their cost. A pause begins quietly, so that words keep their ends, which get little attention.
 */
const unattendedWeight = 3;
const unattendedCost = 0.9;
/** Subtracted from the log-probability of a pause in which punctuation attends. */
const markCost = 0.3;
/** In frames: how early attention comes, and how long words fade into pauses. */
const early = 1.5;
const fade = 3;

/** Each frame's sum of weights, and the median of these sums. */
function frameSums({ weights, rows, frames }: TextAttention): { sums: Float64Array; middle: number } {
  const sums = new Float64Array(frames);
  for (let row = 0; row < rows; ++row) {
    for (let frame = 0; frame < frames; ++frame) sums[frame] += weights[row * frames + frame];
  }
  return { sums, middle: Float64Array.from(sums).sort()[frames >> 1] };
}

/**
 * The logarithm of the share of each frame's attention that belongs to no token, if the tokens are a part of those that
 * were spoken.
 */
function unattendedShares(sums: Float64Array): Float64Array {
  const mean = sums.reduce((a, b) => a + b, 0) / sums.length;
  return sums.map((sum) => Math.log(Math.max(mean / (sum + mean), 1e-12)));
}

/** The greatest weight of rows `from` to `to` in each frame; null for no rows. */
function maximumOfRows({ weights, frames }: TextAttention, from: number, to: number): Float32Array | null {
  if (from >= to) return null;
  const most = weights.slice(from * frames, (from + 1) * frames);
  for (let row = from + 1; row < to; ++row) {
    for (let frame = 0; frame < frames; ++frame) {
      const weight = weights[row * frames + frame];
      if (weight > most[frame]) most[frame] = weight;
    }
  }
  return most;
}

/** The predecessor states of a frame: of a pause, of a word's first frame, and of its others. */
const [pauseBegins, fromPause, wordGoesOn] = [1, 2, 4];

/**
 * Returns the frames of each word. `words` are their rows of attention, in order. `loudness` is the probability by
 * loudness that each frame is not a pause, from 0 to 1.
 */
export function alignWords(attention: TextAttention, words: readonly Span[], loudness: ArrayLike<number>): Span[] {
  const { rows, frames } = attention;
  const count = words.length;
  if (count === 0) return [];
  // Each word takes at least two frames.
  if (frames < 2 * count)
    return words.map((_, i) => ({ start: (i * frames) / count, end: ((i + 1) * frames) / count }));
  const { sums, middle } = frameSums(attention);
  const shared = sums.map((sum) => Math.max(sum + unattendedShare * middle, 1e-12));
  const loud = Float64Array.from({ length: frames }, (_, i) => loudnessWeight * Math.log(loudness[i]));
  const quiet = Float64Array.from(
    { length: frames },
    (_, i) => loudnessWeight * Math.log(1 - loudness[i]) + pauseShare,
  );
  const ends = [...words.map(({ start }) => start), rows];
  const ways = new Uint8Array(frames * (count + 1));
  // The best log-probability so far of each state: the pause before a word, the word's first frame, its other frames.
  const pause = new Float64Array(count + 1).fill(Number.NEGATIVE_INFINITY);
  const first = new Float64Array(count + 1).fill(Number.NEGATIVE_INFINITY);
  const further = new Float64Array(count + 1).fill(Number.NEGATIVE_INFINITY);
  // Before the first word there may be words that these tokens do not include.
  const unattended = unattendedShares(sums);
  const hasOthers = attention.before > 0;
  const marks = ends.map((end, i) => maximumOfRows(attention, i === 0 ? 0 : words[i - 1].end, end));
  const spoken = words.map(({ start, end }) => maximumOfRows(attention, start, end)!);
  for (let frame = 0; frame < frames; ++frame) {
    // From the last word to the first, since each state reads the previous frame of the state before it.
    for (let word = count; word >= 0; --word) {
      const before = word === 0 ? (frame === 0 ? 0 : Number.NEGATIVE_INFINITY) : further[word - 1];
      let way = 0;
      const waited = pause[word];
      if (word < count) {
        const said = Math.log(spoken[word][frame] / shared[frame] + floor) + loud[frame];
        if (first[word] < further[word]) way |= wordGoesOn;
        further[word] = Math.max(first[word], further[word]) + said;
        if (waited > before) way |= fromPause;
        first[word] = Math.max(waited, before) + said;
      }
      const mark = marks[word];
      const silent = quiet[frame];
      const none = mark ? Math.max(silent, Math.log(mark[frame] / shared[frame] + floor) - markCost) : silent;
      const sound = unattendedWeight * unattended[frame] - unattendedCost + loud[frame];
      const begun = before - (word === 0 ? 0 : pauseCost) + none;
      const waiting = waited + Math.max(none, sound);
      if (begun > waiting) way |= pauseBegins;
      pause[word] = Math.max(begun, waiting);
      if (word === 0 && hasOthers)
        pause[word] = Math.max(before, waited) + Math.max(none, unattended[frame] + loud[frame]);
      ways[frame * (count + 1) + word] = way;
    }
  }
  return shifted(walkBack(ways, frames, count, pause[count] > further[count - 1]), frames);
}

/** The frames of the words on the best path. */
function walkBack(ways: Uint8Array, frames: number, count: number, endsInPause: boolean): Span[] {
  const spans = Array.from({ length: count }, (): Span => ({ start: 0, end: frames }));
  let word = endsInPause ? count : count - 1;
  let inPause = endsInPause;
  let inFirst = false;
  for (let frame = frames - 1; frame >= 0; --frame) {
    const way = ways[frame * (count + 1) + word];
    if (inPause) {
      if ((way & pauseBegins) === 0 || word === 0) continue;
      word -= 1;
      inPause = false;
      spans[word].end = frame;
    } else if (inFirst) {
      spans[word].start = frame;
      inFirst = false;
      if (way & fromPause) inPause = true;
      else if (word > 0) {
        word -= 1;
        spans[word].end = frame;
      }
    } else if ((way & wordGoesOn) === 0) inFirst = true;
  }
  return spans;
}

/** Corrects for early attention and for words that fade into pauses. */
function shifted(spans: readonly Span[], frames: number): Span[] {
  return spans.map(({ start, end }, i) => {
    const from = i === 0 ? 0 : spans[i - 1].end;
    const to = i === spans.length - 1 ? frames : spans[i + 1].start;
    return {
      start: start > from || i === 0 ? start : Math.min(start + early, frames),
      end: end < to ? end + Math.min(fade, (to - end) / 2) : Math.min(end + early, frames),
    };
  });
}
