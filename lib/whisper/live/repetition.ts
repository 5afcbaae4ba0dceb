/** Detects hallucinated text: loops, and words faster than speech. */

/** Maximum number of tokens in one cycle of a loop. */
const maxPeriod = 16;
/** Minimum number of cycles of a loop, and of tokens in all cycles together. */
const minCycles = 3;
const minTokens = 8;

/**
 * Returns the index at which the second cycle of a loop at the end of the tokens begins; null if there is no loop.
 * Short loops must repeat more often, since real speech contains "no, no, no".
 */
export function repetitionBegin(tokens: readonly number[]): number | null {
  for (let period = 1; period <= Math.min(maxPeriod, Math.floor(tokens.length / minCycles)); ++period) {
    let begin = tokens.length - period;
    while (begin > 0 && tokens[begin - 1] === tokens[begin - 1 + period]) begin -= 1;
    const length = tokens.length - begin;
    if (length >= minCycles * period && length >= minTokens) return begin + period;
  }
  return null;
}

/**
 * This many successive words of at most this many seconds are too fast for speech. Hallucinated words are aligned with
 * almost no audio.
 */
const [fastWords, fastWordSeconds] = [4, 0.06];

/**
 * Returns the index of the first word that begins a run of words too fast for speech; null if there is none. Only words
 * that end by second `until` are considered.
 */
export function fastTextBegin(words: readonly { start: number; end: number }[], until: number): number | null {
  let begin = 0;
  for (const [index, { start, end }] of words.entries()) {
    if (end > until) return null;
    if (end - start > fastWordSeconds) begin = index + 1;
    else if (index + 1 - begin >= fastWords) return begin;
  }
  return null;
}
