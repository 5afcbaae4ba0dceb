/** The options of reading audio. */
import { OneheadError } from '../errors.js';
import { either, flag, integer, list, number, oneOf, signal, text } from '../options/kinds.js';
import { type Checked, check, type Given, option, options } from '../options/options.js';
import { clock } from './warnings.js';

/** 'mix': a mix of all channels; a list: the mean of these channels, from 0; 'separate': each channel by itself. */
export type Channels = 'mix' | 'separate' | readonly number[];

/** Maximum number of channels, as in WAV files. */
const maxChannels = 64;

export const audioOptions = options('reading audio', {
  /**
   * Uses an installed ffmpeg for formats that this package cannot decode; otherwise such audio is refused.
   * @default true
   */
  ffmpeg: option(flag(), { default: true }),
  /**
   * Maximum length in seconds; longer recordings are refused with code AUDIO_TOO_LONG. Decoded seconds count, not what
   * the file claims.
   * @default Infinity
   */
  maxDuration: option(number(0, Number.POSITIVE_INFINITY, { above: true, placeholder: 'SECONDS' }), {
    default: Number.POSITIVE_INFINITY,
  }),
  /**
   * The audio track, if a file has several: its index from 0, or its language as a code or English name.
   * @default the file's default track, as ffmpeg chooses it
   */
  track: option(
    either(text('LANGUAGE', 'a language', { notBlank: true }), integer(0), 'a whole number from 0 or a language'),
    {
      placeholder: 'N|LANGUAGE',
    },
  ),
  /**
   * 'mix' transcribes a mix of all channels, a list the mean of the listed channels, from 0. 'separate' transcribes
   * each channel by itself, for telephone calls with one speaker on each channel.
   * @default 'mix'
   */
  channels: option<Channels>(
    either(
      list(integer(0, maxChannels - 1), 'a list of numbers', 1),
      oneOf(['mix', 'separate']),
      `'mix', 'separate' or a list of numbers from 0 to ${maxChannels - 1}`,
    ),
    {
      default: 'mix',
      placeholder: 'mix|separate|N,...',
      expectedText: 'mix, separate or numbers such as 0,2',
      others: { cpp: '-di, --diarize' },
    },
  ),
  /**
   * Gives times in an MP4 or Matroska file even if its audio starts later than its video; otherwise times count from
   * the start of the audio.
   * @default true
   */
  addStartTime: option(flag(), { default: true }),
  /** Maximum bytes of encoded audio; larger recordings are refused with code AUDIO_TOO_LARGE. @default Infinity */
  maxBytes: option(number(0, Number.POSITIVE_INFINITY, { above: true, placeholder: 'N' }), {
    default: Number.POSITIVE_INFINITY,
  }),
});

/** Options of reading a recording, which transcription also takes. */
export interface AudioOptions extends Given<typeof audioOptions> {}

const openOptions = options('openAudio', {
  ...audioOptions.entries,
  /** Sample rate of the output in hertz. @default 16000 */
  sampleRate: option(integer(1000, 768_000), { default: 16_000 }),
  /** Aborts opening and reading with its reason, and destroys a stream that is being read. */
  signal: option(signal()),
});

export interface OpenOptions extends Given<typeof openOptions> {}

/** The options with their defaults. */
export type Reading = Omit<Checked<typeof openOptions>, 'track'> & { track: number | string | null };

/** Throws OneheadError INVALID_ARGUMENT. */
export function readingOf(options: OpenOptions): Reading {
  const { track = null, channels, ...rest } = check(openOptions, options);
  return { ...rest, track, channels: typeof channels === 'string' ? channels : [...new Set(channels)] };
}

export const invalid = (argument: string, sentence: string) =>
  new OneheadError('INVALID_ARGUMENT', sentence, { argument });

export const tooLong = (name: string, seconds: number) =>
  new OneheadError(
    'AUDIO_TOO_LONG',
    `${name} is longer than the allowed ${clock(seconds)}; give a shorter recording or raise maxDuration.`,
  );

export const tooLarge = (name: string, bytes: number) =>
  new OneheadError(
    'AUDIO_TOO_LARGE',
    `${name} has more than the allowed ${bytes} bytes; give a smaller recording or raise maxBytes.`,
  );
