/** The options of decoding. Defaults are openai/whisper's. */
import { either, flag, integer, list, number, oneOf, signal, text, tokens } from '../../options/kinds.js';
import { type Given, option, options } from '../../options/options.js';
import { maximumBeams, maximumPatience, maximumTop } from '../model/search.js';
import type { SymbolClass } from './suppression.js';

/** The temperatures of openai/whisper's transcribe. */
export const defaultTemperatures: readonly number[] = [0, 0.2, 0.4, 0.6, 0.8, 1];

const threshold = () => either(number(-1e6, 1e6), oneOf(['none']), "a number, or 'none' for never");
const temperature = number(0, 100, { placeholder: 'T' });
const symbolClasses = oneOf<SymbolClass>(['default', 'symbols', 'numerals']);

export const decodingOptions = options('decode', {
  /** Beams of the search at temperature 0, from 1 to 16; 1 is greedy search. @default 1 */
  beamSize: option(integer(1, maximumBeams), {
    default: 1,
    others: { openai: 'beam_size', faster: 'beam_size', cpp: '-bs, --beam-size' },
  }),
  /** A beam search ends with `beamSize` times this many finished candidates: above 0, at most 2. @default 1 */
  patience: option(number(0, maximumPatience, { above: true }), {
    default: 1,
    others: { openai: 'patience', faster: 'patience' },
  }),
  /**
   * Candidates are ranked by log-probability / ((5 + length) / 6) ^ `lengthPenalty`.
   * @default by log-probability / length
   */
  lengthPenalty: option(number(-100, 100), { others: { openai: 'length_penalty', faster: 'length_penalty' } }),
  /** Number of samples at temperatures above 0, from 1 to 16; the likeliest one is used. @default 5 */
  bestOf: option(integer(1, maximumBeams), {
    default: 5,
    others: { openai: 'best_of', faster: 'best_of', cpp: '-bo, --best-of' },
  }),
  /**
   * One temperature, or several that are tried in order until the text passes the three thresholds below. Tokens are
   * sampled at temperatures above 0.
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
  /** Seed of sampling. The same seed gives the same samples, on every device. @default 0 */
  seed: option(integer(0, 2 ** 31 - 1), { default: 0 }),
  /**
   * Text with a higher compression ratio is repetitive, and the next temperature is tried; 'none' for never.
   * @default 2.4
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
   * Text with a lower mean log-probability is improbable, and the next temperature is tried; 'none' for never.
   * @default -1
   */
  logProbabilityThreshold: option(threshold(), {
    default: -1,
    others: { openai: 'logprob_threshold', faster: 'log_prob_threshold', cpp: '-lpt, --logprob-thold' },
  }),
  /**
   * Windows with a higher no-speech probability, and a mean log-probability below `logProbabilityThreshold`, are
   * silent; 'none' for never.
   * @default 0.6
   */
  noSpeechThreshold: option(threshold(), {
    default: 0.6,
    others: { openai: 'no_speech_threshold', faster: 'no_speech_threshold', cpp: '-nth, --no-speech-thold' },
  }),
  /** The logits of text tokens that occur in the window already are divided by it; 1 for no penalty. @default 1 */
  repetitionPenalty: option(number(0, 100, { above: true }), { default: 1, others: { faster: 'repetition_penalty' } }),
  /** No sequence of this many text tokens occurs twice in a window; 0 for no such rule. @default 0 */
  noRepeatNgramSize: option(integer(0, 1_000_000), { default: 0, others: { faster: 'no_repeat_ngram_size' } }),
  /**
   * Tokens that are never generated: ids, and the classes 'default' (the list in generation_config.json), 'symbols' and
   * 'numerals'.
   * @default 'default'
   */
  suppressTokens: option(
    list(either(symbolClasses, integer(0, 10_000_000)), "a list of token ids, 'default', 'symbols' or 'numerals'"),
    { default: ['default'], placeholder: 'LIST', others: { openai: 'suppress_tokens', faster: 'suppress_tokens' } },
  ),
  /** Prevents a window's text from being empty or beginning with a single space. @default true */
  suppressBlank: option(flag(), { default: true, others: { openai: 'suppress_blank', faster: 'suppress_blank' } }),
  /** Returns words with their times, which are computed from cross-attention in the same pass. @default false */
  wordTimestamps: option(flag(), {
    default: false,
    flag: 'words',
    others: { openai: 'word_timestamps', faster: 'word_timestamps' },
  }),
  /** Returns the log-probabilities of this many of the likeliest tokens at each position, at most 64. @default 0 */
  topLogProbabilities: option(integer(0, maximumTop), { default: 0 }),
});

export interface DecodingOptions extends Given<typeof decodingOptions> {}

/** The language, task and length of the text. */
export const languageOptions = options('language', {
  /**
   * A language code ('en') or English name ('english'), or 'auto' to detect the language.
   * @default the checkpoint's default, otherwise 'auto'
   */
  language: option(text('LANGUAGE', "a language's code, its English name, or 'auto'"), {
    others: { openai: 'language', faster: 'language', cpp: '-l, --language' },
  }),
  /** 'translate' translates to English. @default the checkpoint's default, otherwise 'transcribe' */
  task: option(oneOf(['transcribe', 'translate'], 'TASK'), {
    others: { openai: 'task', faster: 'task' },
  }),
  /** Maximum number of new tokens in each window. @default as many as the model has room for */
  maxNewTokens: option(integer(0, 1_000_000), { others: { openai: 'sample_len', faster: 'max_new_tokens' } }),
});

export const generateOptions = options('generate', {
  ...decodingOptions.entries,
  ...languageOptions.entries,
  /** 'segment' generates timestamp tokens. @default 'none' */
  timestamps: option(oneOf(['none', 'segment'], 'MODE'), { default: 'none' }),
  /** The text before the windows, as token ids. */
  previous: option(tokens()),
  /** Tokens that the text begins with. */
  prefix: option(tokens()),
  /**
   * The end token is suppressed until there are this many new tokens. With the value of `maxNewTokens`, all texts have
   * that length.
   * @default 0
   */
  minNewTokens: option(integer(0, 1_000_000), { default: 0 }),
  /** Aborts decoding; the promise rejects with the signal's reason. */
  signal: option(signal()),
});

export interface GenerateOptions extends Given<typeof generateOptions> {}
