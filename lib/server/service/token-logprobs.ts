/** Log-probabilities of tokens in the format of OpenAI's API. */
import type { WhisperTokenizer } from '../../whisper/checkpoint/tokenizer.js';

export interface TokenLogprob {
  token: string;
  bytes: number[];
  logprob: number;
}

/** One entry for each text token; timestamps and other special tokens are omitted. */
export function tokenLogprobs(
  tokenizer: WhisperTokenizer,
  { tokens = [], logprobs = [] }: { tokens?: readonly number[]; logprobs?: readonly number[] },
): TokenLogprob[] {
  return tokens.flatMap((id, i) => {
    if (!tokenizer.isText(id)) return [];
    return [{ token: tokenizer.decode([id]), bytes: [...tokenizer.bytes(id)], logprob: logprobs[i] }];
  });
}
