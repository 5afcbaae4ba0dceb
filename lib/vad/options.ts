/** The options of voice activity detection. */
import { custom, integer, number, oneOf } from '../options/kinds.js';
import { type Checked, type Given, option, options } from '../options/options.js';

export const vadOptions = options('vad', {
  /** The voice detector: Silero's network, included in the package, or WebRTC's of 2011. @default 'silero' */
  detector: option(oneOf(['silero', 'webrtc']), { default: 'silero' }),
  /** No longer an option: Silero's model is included in the package. */
  model: option(
    custom<never>(() => false, {
      expected: "absent, since Silero's model is included in the package,",
      placeholder: 'FILE',
    }),
    { others: { cpp: '-vm, --vad-model' } },
  ),
  /** WebRTC's aggressiveness, 0 to 3: higher values classify fewer frames as speech. @default 3 */
  mode: option(integer(0, 3), { default: 3 }),
  /** Probability from which speech begins. @default 0.5 */
  threshold: option(number(0, 1), { default: 0.5, others: { faster: 'threshold', cpp: '-vt, --vad-threshold' } }),
  /** Probability below which speech ends. @default `threshold` - 0.15, at least 0.01 */
  negativeThreshold: option(number(0, 1), { others: { faster: 'neg_threshold' } }),
  /** Minimum length of speech in seconds; shorter speech counts as noise. @default 0.25 */
  minSpeech: option(number(0, 3600, { placeholder: 'SECONDS' }), {
    default: 0.25,
    others: { faster: 'min_speech_duration_ms', cpp: '-vspd, --vad-min-speech-duration-ms' },
  }),
  /** Minimum length of silence that ends speech, in seconds. @default 2, or 0.5 if windows are decoded at once */
  minSilence: option(number(0, 3600, { placeholder: 'SECONDS' }), {
    others: { faster: 'min_silence_duration_ms', cpp: '-vsd, --vad-min-silence-duration-ms' },
  }),
  /** Seconds kept before and after speech. @default 0.4 */
  padding: option(number(0, 3600, { placeholder: 'SECONDS' }), {
    default: 0.4,
    others: { faster: 'speech_pad_ms', cpp: '-vp, --vad-speech-pad-ms' },
  }),
});

/** Options of voice activity detection. */
export interface VadOptions extends Given<typeof vadOptions> {}
export type CheckedVadOptions = Checked<typeof vadOptions>;
