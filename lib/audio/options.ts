/** The options of reading audio, and their checks. */
import { OneheadError, shown } from '../errors.js';
import { type Channels, checkChannels } from './channels.js';
import { checkRate } from './samples.js';
import { clock } from './warnings.js';

/** How a recording is read: options of transcription too. */
export interface AudioOptions {
  /** False: what this package does not decode by itself is refused instead of given to an installed ffmpeg. */
  ffmpeg?: boolean;
  /**
   * Seconds: a longer recording is refused with code AUDIO_TOO_LONG. They are counted as they are decoded, so that what a file says of
   * itself does not matter.
   */
  maxDuration?: number;
  /**
   * The audio track of a file that has several: its place among them, from 0, or its language as a code or English name. Otherwise the one
   * that the file marks as its default, as ffmpeg chooses it.
   */
  track?: number | string;
  /**
   * 'mix', the default, hears the mean of all channels, a list that of the channels with these numbers, from 0 on. 'separate' hears each by
   * itself: a telephone call, which has a speaker on each.
   */
  channels?: Channels;
  /** More bytes of encoded audio than this are refused with code AUDIO_TOO_LARGE. */
  maxBytes?: number;
}

export interface OpenOptions extends AudioOptions {
  /** Hertz of the samples given; 16,000 unless set. */
  sampleRate?: number;
  /** Ends opening and reading with its reason, and destroys a stream that is read. */
  signal?: AbortSignal;
}

/** The options with their defaults. */
export interface Reading {
  sampleRate: number;
  ffmpeg: boolean;
  maxDuration: number;
  maxBytes: number;
  track: number | string | null;
  channels: Channels;
}

export const invalid = (argument: string, sentence: string) =>
  new OneheadError('INVALID_ARGUMENT', sentence, { argument });

/** What a wrong argument is, for error sentences. */
export function kindOf(value: unknown): string {
  if (value === null || typeof value !== 'object') return value === null ? 'null' : typeof value;
  return shown(value.constructor?.name ?? 'object');
}

/** A flag; null and undefined are absent. */
function flag(argument: string, value: unknown, usual: boolean): boolean {
  if (value === undefined || value === null) return usual;
  if (typeof value === 'boolean') return value;
  throw invalid(argument, `Expected ${argument} to be true or false but received ${kindOf(value)}.`);
}

/** A limit above 0; null and undefined are none. */
function limit(argument: string, value: unknown, unit: string): number {
  if (value === undefined || value === null) return Number.POSITIVE_INFINITY;
  if (typeof value === 'number' && value > 0) return value;
  const received = typeof value === 'number' ? String(value) : kindOf(value);
  throw invalid(argument, `Expected ${argument} to be a number of ${unit} above 0 but received ${received}.`);
}

function trackOf(value: unknown): number | string | null {
  if (value === undefined || value === null) return null;
  if (Number.isInteger(value) && (value as number) >= 0) return value as number;
  if (typeof value === 'string' && value.trim() !== '') return value;
  const received = typeof value === 'number' ? String(value) : kindOf(value);
  throw invalid('track', `Expected track to be a whole number from 0 or a language but received ${received}.`);
}

/** Throws OneheadError INVALID_ARGUMENT. */
export function checkOptions(options: OpenOptions): Reading {
  if (typeof options !== 'object' || options === null) {
    throw invalid('options', `Expected options to be an object but received ${kindOf(options)}.`);
  }
  const { sampleRate = 16000, signal } = options;
  checkRate(sampleRate);
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalid('signal', `Expected signal to be an AbortSignal but received ${kindOf(signal)}.`);
  }
  return {
    sampleRate,
    ffmpeg: flag('ffmpeg', options.ffmpeg, true),
    maxDuration: limit('maxDuration', options.maxDuration, 'seconds'),
    track: trackOf(options.track),
    maxBytes: limit('maxBytes', options.maxBytes, 'bytes'),
    channels: checkChannels(options.channels),
  };
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
