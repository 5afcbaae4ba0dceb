/** Text that nobody says: that goes round in circles, or faster than anybody speaks. */

/** Tokens of the longest circle. */
const longest = 16;
/** Times that a circle is passed before it is one, and tokens that it must have in all. */
const rounds = 3;
const least = 8;

/**
 * Where the second round of a circle begins that the tokens end in: all behind it is repetition. Null where they end in
 * none. Short circles must be passed more often, since people do say "no, no, no".
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
 * Where words begin, all before the second `until`, that follow one another faster than anybody speaks; null where none
 * do.
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
