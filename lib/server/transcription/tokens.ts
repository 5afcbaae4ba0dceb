/** Token counts and log-probabilities. */
import { previousRoom } from '../../whisper/decoding/prompt.js';
import type { Transcription } from '../../whisper/transcription/types.js';
import type { Whisper } from '../../whisper/whisper.js';
import { type TokenLogprob, tokenLogprobs } from '../service/token-logprobs.js';
import type { AudioRequest } from './fields.js';

/** The log-probability of each text token. */
export async function logprobsOf({ segments }: Transcription, { model }: Whisper): Promise<TokenLogprob[]> {
  const tokenizer = await model.checkpoint.tokenizer();
  return segments.flatMap((segment) => tokenLogprobs(tokenizer, segment));
}

/** Token counts. Audio counts as encoder positions; text as the tokens of prompt and keywords that the model reads. */
export async function tokenUsage(result: Transcription, request: AudioRequest, { model }: Whisper) {
  const { preprocessor, config } = model.checkpoint;
  const tokenizer = await model.checkpoint.tokenizer();
  const { prompt, hotwords } = request.options;
  const given = [hotwords, prompt].filter((text) => typeof text === 'string').join(' ');
  const room = previousRoom(config.targetPositions);
  const text_tokens = Math.min(room, tokenizer.encode(given.slice(-20 * room)).length);
  const audio_tokens = Math.ceil((result.duration * preprocessor.sampleRate) / preprocessor.hop / 2);
  const input_tokens = audio_tokens + text_tokens;
  const output_tokens = result.segments.reduce((sum, { tokens }) => sum + tokens.length, 0);
  return {
    type: 'tokens',
    input_tokens,
    input_token_details: { audio_tokens, text_tokens },
    output_tokens,
    total_tokens: input_tokens + output_tokens,
  };
}
