/** The options of decoding. Defaults are openai/whisper's. */
import { either, flag, integer, list, number, oneOf, signal, text, tokens } from '../../options/kinds.js';
import { type Given, option, options } from '../../options/options.js';
import { mostBeams, mostPatience, mostTop } from '../model/search.js';
import type { SymbolClass } from './suppression.js';

/** The temperatures of openai/whisper's transcribe. */
export const usualTemperatures: readonly number[] = [0, 0.2, 0.4, 0.6, 0.8, 1];

const threshold = () => either(number(-1e6, 1e6), oneOf(['none']), "a number, or 'none' for never");
const temperature = number(0, 100, { placeholder: 'T' });
const symbolClasses = oneOf<SymbolClass>(['default', 'symbols', 'numerals']);

export const decodingOptions = options('decode', {
  /** Beams of the search at temperature 0, 1 to 16; 1 takes the likeliest token each time. @default 1 */
  beamSize: option(integer(1, mostBeams), {
    default: 1,
    others: { openai: 'beam_size', faster: 'beam_size', cpp: '-bs, --beam-size' },
  }),
  /** Finished candidates that end a beam search, as a multiple of the beams: above 0, 2 at most. @default 1 */
  patience: option(number(0, mostPatience, { above: true }), {
    default: 1,
    others: { openai: 'patience', faster: 'patience' },
  }),
  /**
   * Candidates are ranked by log-probability / ((5 + length) / 6) ^ this.
   * @default log-probability / length
   */
  lengthPenalty: option(number(-100, 100), { others: { openai: 'length_penalty', faster: 'length_penalty' } }),
  /** Sequences drawn at temperatures above 0, of which the likeliest is taken: 1 to 16. @default 5 */
  bestOf: option(integer(1, mostBeams), {
    default: 5,
    others: { openai: 'best_of', faster: 'best_of', cpp: '-bo, --best-of' },
  }),
  /**
   * One temperature, or several that are tried in turn until the text passes the three thresholds below. 0 means no
   * chance.
   * @default 0, 0.2, 0.4, 0.6, 0.8, 1
   */
  temperature: option(
    either(
      list(temperature, 'a list of numbers from 0 to 100', 1),
      temperature,
      'a number from 0 to 100, or a list of such numbers,',
    ),
    { placeholder: 'T,...', others: { openai: 'temperature', faster: 'temperature', cpp: '-tp, --temperature' } },
  ),
  /** Draws are repeated by the same seed, on every device. @default 0 */
  seed: option(integer(0, 2 ** 31 - 1), { default: 0 }),
  /**
   * Text that compresses better than this is repetitive, and the next temperature is tried; 'none' for never. @default
   * 2.4
   */
  compressionRatioThreshold: option(threshold(), {
    default: 2.4,
    others: {
      openai: 'compression_ratio_threshold',
      faster: 'compression_ratio_threshold',
      cpp: '-et, --entropy-thold',
    },
  }),
  /**
   * Text with a mean log-probability below this is tried again at the next temperature; 'none' for never. @default -1
   */
  logProbabilityThreshold: option(threshold(), {
    default: -1,
    others: { openai: 'logprob_threshold', faster: 'log_prob_threshold', cpp: '-lpt, --logprob-thold' },
  }),
  /**
   * Windows with a higher probability of silence than this, and a mean log-probability below `logProbabilityThreshold`,
   * are silent; 'none' for never.
   * @default 0.6
   */
  noSpeechThreshold: option(threshold(), {
    default: 0.6,
    others: { openai: 'no_speech_threshold', faster: 'no_speech_threshold', cpp: '-nth, --no-speech-thold' },
  }),
  /** Divides the logits of text tokens written before in the window; 1 for none. @default 1 */
  repetitionPenalty: option(number(0, 100, { above: true }), { default: 1, others: { faster: 'repetition_penalty' } }),
  /** No sequence of this many text tokens comes twice in a window; 0 for no such rule. @default 0 */
  noRepeatNgramSize: option(integer(0, 1_000_000), { default: 0, others: { faster: 'no_repeat_ngram_size' } }),
  /**
   * Tokens never written: ids, and the classes 'default' (generation_config.json's), 'symbols' and 'numerals'. @default
   * 'default'
   */
  suppressTokens: option(
    list(either(symbolClasses, integer(0, 10_000_000)), "a list of token ids, 'default', 'symbols' or 'numerals'"),
    { default: ['default'], placeholder: 'LIST', others: { openai: 'suppress_tokens', faster: 'suppress_tokens' } },
  ),
  /** A window does not begin with a blank or end at once. @default true */
  suppressBlank: option(flag(), { default: true, others: { openai: 'suppress_blank', faster: 'suppress_blank' } }),
  /** Words with their times, from the attention to the audio, in the same pass. @default false */
  wordTimestamps: option(flag(), {
    default: false,
    flag: 'words',
    others: { openai: 'word_timestamps', faster: 'word_timestamps' },
  }),
  /** Log-probabilities of that many of the likeliest tokens at each position, 64 at most. @default 0 */
  topLogProbabilities: option(integer(0, mostTop), { default: 0 }),
});

export interface DecodingOptions extends Given<typeof decodingOptions> {}

/** Options of the text itself, where windows are decoded. */
export const languageOptions = options('language', {
  /**
   * A language code ('en') or English name ('english'), or 'auto' to have it detected. @default the checkpoint's own,
   * else detected
   */
  language: option(text('LANGUAGE', "a language's code, its English name, or 'auto'"), {
    others: { openai: 'language', faster: 'language', cpp: '-l, --language' },
  }),
  /** 'translate' writes English whatever is spoken. @default the checkpoint's own, else 'transcribe' */
  task: option(oneOf(['transcribe', 'translate'], 'TASK'), {
    others: { openai: 'task', faster: 'task' },
  }),
  /** Upper limit of new tokens in each window. @default what the model has room for */
  maxNewTokens: option(integer(0, 1_000_000), { others: { openai: 'sample_len', faster: 'max_new_tokens' } }),
});

export const generateOptions = options('generate', {
  ...decodingOptions.entries,
  ...languageOptions.entries,
  /** 'segment': timestamp tokens are written. @default 'none' */
  timestamps: option(oneOf(['none', 'segment'], 'MODE'), { default: 'none' }),
  /** Text before the windows, as token ids. */
  previous: option(tokens()),
  /** Tokens that the text begins with. */
  prefix: option(tokens()),
  /**
   * The end token is suppressed until this many tokens are written; the same as `maxNewTokens` forces a length.
   * @default 0
   */
  minNewTokens: option(integer(0, 1_000_000), { default: 0 }),
  /** Ends the decoding with its reason. */
  signal: option(signal()),
});

export interface GenerateOptions extends Given<typeof generateOptions> {}
