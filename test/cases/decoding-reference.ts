/**
 * A plain reference of the choice of the next token: Whisper's rules, one token after another, like transformers'
 * logits processors.
 */

/** The state of sequences; see `DecodingState` and `NextTokenRules`. */
export interface Sequences {
  vocabulary: number;
  capacity: number;
  logits: Float32Array;
  suppressed: Uint8Array;
  endToken: number;
  timestampBegin: number;
  timestampEnd: number;
  noTimestampsToken: number;
  maxInitialTimestamp: number;
  tokens: Int32Array;
  length: Int32Array;
  begin: Int32Array;
  minimum: Int32Array;
  maximum: Int32Array;
  timestamps: Int32Array;
  finished: Int32Array;
}

const none = Number.NEGATIVE_INFINITY;

/** The logits of sequence `b` under the rules; -infinity for tokens that are not allowed. */
export function filteredLogits(a: Sequences, b: number): number[] {
  const logits = Array.from(a.logits.subarray(b * a.vocabulary, (b + 1) * a.vocabulary));
  const written = Array.from(a.tokens.subarray(b * a.capacity + a.begin[b], b * a.capacity + a.length[b]));
  const count = written.length;
  const isTime = (token: number) => token >= a.timestampBegin && token < a.timestampEnd;
  const forbid = (is: (token: number) => boolean) => {
    for (let token = 0; token < a.vocabulary; ++token) if (is(token)) logits[token] = none;
  };
  forbid((token) => Number.isNaN(logits[token]));
  forbid((token) => (a.suppressed[token] & 1) !== 0 || (count === 0 && (a.suppressed[token] & 2) !== 0));
  if (count < a.minimum[b]) forbid((token) => token === a.endToken);
  if (!a.timestamps[b]) return logits;

  forbid((token) => token === a.noTimestampsToken);
  const last = count >= 1 && isTime(written[count - 1]);
  const closed = count < 2 || isTime(written[count - 2]);
  const latest = written.filter(isTime).at(-1);
  if (last && closed) forbid(isTime); // a pair is whole: text follows
  if (last && !closed) forbid((token) => token < a.endToken || token >= a.timestampEnd); // a time opens the next one
  if (latest !== undefined) forbid((token) => isTime(token) && token < latest + (last && !closed ? 0 : 1));
  if (count === 0) {
    forbid((token) => !isTime(token));
    if (a.maxInitialTimestamp >= 0) forbid((token) => token > a.timestampBegin + a.maxInitialTimestamp);
  }
  const [times, text] = [logits.filter((_, token) => isTime(token)), logits.filter((_, token) => !isTime(token))];
  const together = Math.log(times.reduce((sum, logit) => sum + Math.exp(logit), 0));
  if (together > Math.max(...text)) forbid((token) => !isTime(token));
  return logits;
}

export interface Choice {
  token: number;
  logProbability: number;
  /** The `top` likeliest tokens; -1 if there are fewer. */
  top: { token: number; logProbability: number }[];
}

/** The likeliest token, the first of equals; the end token if none is allowed. */
export function chosenToken(logits: readonly number[], endToken: number, top: number): Choice {
  const order = Array.from(logits.keys())
    .filter((token) => logits[token] !== none)
    .sort((a, b) => logits[b] - logits[a] || a - b);
  const highest = order.length > 0 ? logits[order[0]] : none;
  const logSum = highest + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - highest), 0));
  const ranked = Array.from({ length: top }, (_, place) => {
    const token = order[place] ?? -1;
    return { token, logProbability: token < 0 ? none : logits[token] - logSum };
  });
  if (order.length === 0) return { token: endToken, logProbability: none, top: ranked };
  return { token: order[0], logProbability: highest - logSum, top: ranked };
}
