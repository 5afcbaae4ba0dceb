/** The options of reading audio. */
import { OneheadError, shown } from '../errors.js';
import { either, flag, integer, list, number, oneOf, signal, text } from '../options/kinds.js';
import { type Checked, check, type Given, option, options } from '../options/options.js';
import { clock } from './warnings.js';

/** 'mix' is the mean of all, a list that of those named, counted from 0; 'separate' is each by itself. */
export type Channels = 'mix' | 'separate' | readonly number[];

/** Channels of a recording at most: what WAV files may have. */
const mostChannels = 64;

export const audioOptions = options('reading audio', {
  /**
   * Formats that this package cannot decode are given to an installed ffmpeg; without it, such audio is refused.
   * @default true
   */
  ffmpeg: option(flag(), { default: true }),
  /**
   * Seconds: a longer recording is refused with code AUDIO_TOO_LONG. They are counted as they are decoded, so that what
   * a file says of itself does not matter.
   * @default Infinity
   */
  maxDuration: option(number(0, Number.POSITIVE_INFINITY, { above: true, placeholder: 'SECONDS' }), {
    default: Number.POSITIVE_INFINITY,
  }),
  /**
   * The audio track of a file that has several: its place among them, from 0, or its language as a code or English
   * name.
   * @default the one that the file marks as its default, as ffmpeg chooses it
   */
  track: option(
    either(text('LANGUAGE', 'a language', { filled: true }), integer(0), 'a whole number from 0 or a language'),
    {
      placeholder: 'N|LANGUAGE',
    },
  ),
  /**
   * 'mix' hears the mean of all channels, a list that of the channels with these numbers, from 0 on. 'separate' hears
   * each by itself: a telephone call, which has a speaker on each.
   * @default 'mix'
   */
  channels: option<Channels>(
    either(
      list(integer(0, mostChannels - 1), 'a list of numbers', 1),
      oneOf(['mix', 'separate']),
      `'mix', 'separate' or a list of numbers from 0 to ${mostChannels - 1}`,
    ),
    {
      default: 'mix',
      placeholder: 'mix|separate|N,...',
      expectedText: 'mix, separate or numbers such as 0,2',
      others: { cpp: '-di, --diarize' },
    },
  ),
  /**
   * Times are those of an MP4 or Matroska file, whose sound may begin later than its picture; without it, they count
   * from the first sound.
   * @default true
   */
  addStartTime: option(flag(), { default: true }),
  /** More bytes of encoded audio than this are refused with code AUDIO_TOO_LARGE. @default Infinity */
  maxBytes: option(number(0, Number.POSITIVE_INFINITY, { above: true, placeholder: 'N' }), {
    default: Number.POSITIVE_INFINITY,
  }),
});

/** Options of reading a recording, which transcription takes as well. */
export interface AudioOptions extends Given<typeof audioOptions> {}

export const openOptions = options('openAudio', {
  ...audioOptions.entries,
  /** Hertz of the samples given. @default 16000 */
  sampleRate: option(integer(1000, 768_000), { default: 16_000 }),
  /** Ends opening and reading with its reason, and destroys a stream that is read. */
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

/** Describes a wrong argument, for error sentences. */
export function kindOf(value: unknown): string {
  if (value === null || typeof value !== 'object') return value === null ? 'null' : typeof value;
  return shown(value.constructor?.name ?? 'object');
}

export const tooLong = (name: string, seconds: number) =>
  new OneheadError(
    'AUDIO_TOO_LONG',
    `${name} is longer than the ${clock(seconds)} that are allowed; give a shorter recording or set maxDuration.`,
  );

export const tooLarge = (name: string, bytes: number) =>
  new OneheadError(
    'AUDIO_TOO_LARGE',
    `${name} has more than the ${bytes} bytes that are allowed; give a smaller recording or set maxBytes.`,
  );
