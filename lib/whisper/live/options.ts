/** The options of live transcription. */
import { priorities } from '../../engine/request.js';
import { flag, integer, number, oneOf, signal, textOrTokens } from '../../options/kinds.js';
import { type Checked, type Given, nested, option, options } from '../../options/options.js';
import { type VadOptions, vadOptions } from '../../vad/options.js';
import { languageOptions } from '../decoding/options.js';

export const policies = ['attention', 'agreement', 'both'] as const;
export type LivePolicy = (typeof policies)[number];

/** The policy for confirmed text, which `evaluate --live` also takes. */
const livePolicyOptions = options('live policy', {
  /**
   * When a word is confirmed. 'attention': when it is aligned with audio at least `threshold` seconds before the end.
   * 'agreement': when two successive hypotheses have it. 'both': when both conditions hold.
   * @default 'attention'; 'agreement' for pruned decoders and for checkpoints without alignment heads
   */
  policy: option(oneOf(policies, 'POLICY')),
  /**
   * Seconds at the end of the audio in which 'attention' confirms no word: smaller values confirm earlier, larger ones
   * more reliably.
   * @default 0.5
   */
  threshold: option(number(0, 10, { placeholder: 'SECONDS' }), { default: 0.5 }),
  /** Seconds of new audio between decodings. A slower device decodes less often. @default 0.5 */
  interval: option(number(0.1, 10, { placeholder: 'SECONDS' }), { default: 0.5 }),
  /**
   * Maximum seconds of audio decoded together, limited by the model's window; earlier audio is represented by its text.
   * @default 15
   */
  window: option(number(4, 30, { placeholder: 'SECONDS' }), { default: 15 }),
});

export const liveOptions = options('live', {
  /** Sample rate of the pushed samples in hertz. @default the model's own, 16000 */
  sampleRate: option(integer(1000, 768_000)),
  ...livePolicyOptions.entries,
  ...languageOptions.entries,
  /**
   * If the language is detected: a turn that is clearly in another language than the one before it is decoded in that
   * language.
   * @default true
   */
  followLanguage: option(flag(), { default: true }),
  /** Text (or token ids) before each turn, which guides names and style. */
  prompt: option(textOrTokens()),
  /**
   * Options of turn detection; the defaults here are 0.5 s for `minSilence`, 0.1 s for `minSpeech` and 0.3 s for
   * `padding`. False: everything until `flush` is one turn.
   * @default true
   */
  vad: nested<typeof vadOptions, VadOptions>(vadOptions),
  /** Emits hypotheses after the confirmed text. @default true */
  partials: option(flag(), { default: true }),
  /**
   * Adds token ids and log-probabilities to `confirmed` and `final`, as `tokens` and `logprobs`.
   * @default false
   */
  tokenLogProbabilities: option(flag(), { default: false }),
  /** Maximum seconds of undecoded audio; older audio is dropped, with an event. @default 120 */
  maximumLag: option(number(30, 3600, { placeholder: 'SECONDS' }), { default: 120 }),
  /**
   * 'live' streams are served before 'interactive' calls, and those before 'batch', except for a share. Another class
   * is for streams that nobody waits for.
   * @default 'live'
   */
  priority: option(oneOf(priorities, 'CLASS'), { default: 'live' }),
  /** Ends the stream; its iteration then throws the signal's reason. */
  signal: option(signal()),
});

export interface LiveOptions extends Given<typeof liveOptions> {}
export type CheckedLiveOptions = Checked<typeof liveOptions>;
