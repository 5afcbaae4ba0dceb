/** The options of live transcription. */
import { flag, integer, number, oneOf, signal, textOrTokens } from '../../options/kinds.js';
import { type Checked, type Given, nested, option, options } from '../../options/options.js';
import { type VadOptions, vadOptions } from '../../vad/options.js';
import { languageOptions } from '../decoding/options.js';

export const policies = ['attention', 'agreement', 'both'] as const;
export type LivePolicy = (typeof policies)[number];

/** The rule for confirmed text, which `evaluate --live` takes as well. */
export const livePolicyOptions = options('live policy', {
  /**
   * When a word is confirmed. 'attention': when the alignment heads attend to audio at least `threshold` before the end
   * of what was heard. 'agreement': when two successive hypotheses have it. 'both': when both hold.
   * @default the best measured for such a checkpoint
   */
  policy: option(oneOf(policies, 'POLICY')),
  /**
   * Seconds before the end of what was heard in which 'attention' confirms no word: smaller is earlier, larger is
   * surer. @default 0.5
   */
  threshold: option(number(0, 10, { placeholder: 'SECONDS' }), { default: 0.5 }),
  /** Seconds of new audio after which it is decoded. A device that is slower decodes less often. @default 0.5 */
  interval: option(number(0.1, 10, { placeholder: 'SECONDS' }), { default: 0.5 }),
  /**
   * Seconds of audio that are decoded together at most, as far as the model has room for them; what lies before is told
   * as text. @default 15
   */
  window: option(number(4, 30, { placeholder: 'SECONDS' }), { default: 15 }),
});

export const liveOptions = options('live', {
  /** Hertz of the samples that are pushed. @default the model's own, 16000 */
  sampleRate: option(integer(1000, 768_000)),
  ...livePolicyOptions.entries,
  ...languageOptions.entries,
  /** Text (or token ids) that stands before each turn: names and a style to go by. */
  prompt: option(textOrTokens()),
  /**
   * The detection of turns. Options that are left out have their defaults, but here `minSilence` is 0.5 s, `minSpeech`
   * 0.1 s and `padding` 0.3 s. False: all audio is one turn, until `flush`.
   * @default true
   */
  vad: nested<typeof vadOptions, VadOptions>(vadOptions),
  /** Hypotheses beyond the confirmed text are told, too. @default true */
  partials: option(flag(), { default: true }),
  /**
   * `confirmed` and `final` have the ids of their tokens and the log-probability of each, as `tokens` and `logprobs`.
   * @default false
   */
  tokenLogProbabilities: option(flag(), { default: false }),
  /**
   * Seconds of audio that wait to be decoded at most; what is older is given up, and an event tells so. @default 120
   */
  maximumLag: option(number(30, 3600, { placeholder: 'SECONDS' }), { default: 120 }),
  /** Ends the stream with its reason. */
  signal: option(signal()),
});

export interface LiveOptions extends Given<typeof liveOptions> {}
export type CheckedLiveOptions = Checked<typeof liveOptions>;
