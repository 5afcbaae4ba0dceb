/** Text that nobody says: that goes round in circles, or faster than anybody speaks. */

/** Tokens of the longest circle. */
const longest = 16;
/** Times that a circle is passed before it is one, and tokens that it must have in all. */
const rounds = 3;
const least = 8;

/**
 * The index at which the second round of a loop at the end of the tokens begins: everything behind it is repetition.
 * Null if there is no loop. Short loops must repeat more often, since people do say "no, no, no".
 */
export function repetitionBegin(tokens: readonly number[]): number | null {
  for (let period = 1; period <= Math.min(longest, Math.floor(tokens.length / rounds)); ++period) {
    let begin = tokens.length - period;
    while (begin > 0 && tokens[begin - 1] === tokens[begin - 1 + period]) begin -= 1;
    const length = tokens.length - begin;
    if (length >= rounds * period && length >= least) return begin + period;
  }
  return null;
}

/** Seconds that no word lasts when so many follow one another: text that was invented lies on next to no audio. */
const shortest = 0.06;
const hurried = 4;

/**
 * The index of the first word, before second `until`, from which words follow one another faster than anybody speaks;
 * null if there is none.
 */
export function hurryBegin(words: readonly { start: number; end: number }[], until: number): number | null {
  let begin = 0;
  for (const [index, { start, end }] of words.entries()) {
    if (end > until) return null;
    if (end - start > shortest) begin = index + 1;
    else if (index + 1 - begin >= hurried) return begin;
  }
  return null;
}
