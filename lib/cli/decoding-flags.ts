/** The options of `transcribe` that say how text is searched and what it goes by. */
import type { ParseArgsConfig } from 'node:util';
import type { SymbolClass } from '../whisper/decoding/suppression.js';
import type { TranscribeOptions } from '../whisper/transcription/types.js';
import { UsageError } from './usage.js';

type Flags = NonNullable<ParseArgsConfig['options']>;
type Values = Record<string, string | boolean | (string | boolean)[] | undefined>;

export const decodingHelp = `  --beam-size N          beams at temperature 0, 1 to 16 (default: 1, which is greedy)
  --patience X           finished candidates a beam, 2 at most (default: 1)
  --length-penalty X     exponent of the length that candidates are divided by (default: the mean log-probability counts)
  --best-of N            sequences drawn at temperatures above 0 (default: 5)
  --temperature T,...    tried in turn until the text is good (default: 0,0.2,0.4,0.6,0.8,1)
  --seed N               draws are repeated by the same seed (default: 0)
  --compression-ratio-threshold X, --log-probability-threshold X, --no-speech-threshold X
                         what is good: 2.4, -1 and 0.6, as openai/whisper; none for never
  --repetition-penalty X --no-repeat-ngram-size N
                         against repetition within a window (default: 1 and 0, no rule)
  --suppress-tokens LIST ids, default, symbols or numerals (default: default); an empty list suppresses nothing
  --top-log-probabilities N
                         for json formats: that many of the likeliest tokens at each place
  --words                times of words, for json formats and subtitles
  --hallucination-silence-threshold SECONDS
                         with --words: skips longer silence beside text that looks invented
  --prompt TEXT          stands before the first window; with --carry-prompt before each
  --hotwords TEXT        words to expect, before each window
  --prefix TEXT          the first window's text begins with this
  --condition-on-previous-text
                         each window is told the text before it`;

const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;

export const decodingFlags = {
  'beam-size': text,
  patience: text,
  'length-penalty': text,
  'best-of': text,
  temperature: text,
  seed: text,
  'compression-ratio-threshold': text,
  'log-probability-threshold': text,
  'no-speech-threshold': text,
  'repetition-penalty': text,
  'no-repeat-ngram-size': text,
  'suppress-tokens': text,
  'top-log-probabilities': text,
  words: flag,
  'hallucination-silence-threshold': text,
  prompt: text,
  'carry-prompt': flag,
  hotwords: text,
  prefix: text,
  'condition-on-previous-text': flag,
} satisfies Flags;

/** A number, or undefined when the option was not given. Its range is checked where it is used. */
export function numeric(values: Values, name: string): number | undefined {
  const value = values[name];
  if (typeof value !== 'string') return undefined;
  const number = Number(value);
  if (value.trim() === '' || !Number.isFinite(number)) {
    throw new UsageError(`Expected --${name} to be a number but received '${value}'.`);
  }
  return number;
}

const orNone = (values: Values, name: string): number | null | undefined =>
  values[name] === 'none' ? null : numeric(values, name);

const textual = (values: Values, name: string): string | undefined => values[name] as string | undefined;

function temperatures(values: Values): number[] | undefined {
  return textual(values, 'temperature')
    ?.split(',')
    .map((one) => numeric({ temperature: one }, 'temperature')!);
}

function suppressed(values: Values): (number | SymbolClass)[] | undefined {
  return textual(values, 'suppress-tokens')
    ?.split(',')
    .filter((one) => one !== '')
    .map((one) => (/^\d+$/.test(one) ? Number(one) : (one as SymbolClass)));
}

export function decodingOptions(values: Values): TranscribeOptions {
  return {
    beamSize: numeric(values, 'beam-size'),
    patience: numeric(values, 'patience'),
    lengthPenalty: numeric(values, 'length-penalty'),
    bestOf: numeric(values, 'best-of'),
    temperature: temperatures(values),
    seed: numeric(values, 'seed'),
    compressionRatioThreshold: orNone(values, 'compression-ratio-threshold'),
    logProbabilityThreshold: orNone(values, 'log-probability-threshold'),
    noSpeechThreshold: orNone(values, 'no-speech-threshold'),
    repetitionPenalty: numeric(values, 'repetition-penalty'),
    noRepeatNgramSize: numeric(values, 'no-repeat-ngram-size'),
    suppressTokens: suppressed(values),
    topLogProbabilities: numeric(values, 'top-log-probabilities'),
    wordTimestamps: values.words as boolean | undefined,
    hallucinationSilenceThreshold: numeric(values, 'hallucination-silence-threshold'),
    prompt: textual(values, 'prompt'),
    carryPrompt: values['carry-prompt'] as boolean | undefined,
    hotwords: textual(values, 'hotwords'),
    prefix: textual(values, 'prefix'),
    conditionOnPreviousText: values['condition-on-previous-text'] as boolean | undefined,
  };
}
