/** Detects invented text: looping, or faster than speech. */

/** Maximum tokens of a loop. */
const maxPeriod = 16;
/** Minimum repetitions of a loop, and minimum tokens of all repetitions together. */
const rounds = 3;
const minTokens = 8;

/**
 * The index at which the second round of a loop at the end of the tokens begins. Null if there is no loop. Short loops
 * must repeat more often, since people do say "no, no, no".
 */
export function repetitionBegin(tokens: readonly number[]): number | null {
  for (let period = 1; period <= Math.min(maxPeriod, Math.floor(tokens.length / rounds)); ++period) {
    let begin = tokens.length - period;
    while (begin > 0 && tokens[begin - 1] === tokens[begin - 1 + period]) begin -= 1;
    const length = tokens.length - begin;
    if (length >= rounds * period && length >= minTokens) return begin + period;
  }
  return null;
}

/**
 * Seconds: this many successive words are never all shorter than this. Invented text is aligned with almost no audio.
 */
const shortestWord = 0.06;
const hurriedWords = 4;

/**
 * The index of the first word, before second `until`, from which words are faster than speech; null if there is none.
 */
export function hurryBegin(words: readonly { start: number; end: number }[], until: number): number | null {
  let begin = 0;
  for (const [index, { start, end }] of words.entries()) {
    if (end > until) return null;
    if (end - start > shortestWord) begin = index + 1;
    else if (index + 1 - begin >= hurriedWords) return begin;
  }
  return null;
}
