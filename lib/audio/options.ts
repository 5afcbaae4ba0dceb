/** The options of reading audio, and their checks. */
import { OneheadError } from '../errors.js';
import { checkRate } from './samples.js';

/** How a recording is read: options of transcription too. */
export interface AudioOptions {
  /** False: what this package does not decode by itself is refused instead of given to an installed ffmpeg. */
  ffmpeg?: boolean;
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
}

export const invalid = (argument: string, sentence: string) =>
  new OneheadError('INVALID_ARGUMENT', sentence, { argument });

/** What a wrong argument is, for error sentences. */
export function kindOf(value: unknown): string {
  if (value === null || typeof value !== 'object') return value === null ? 'null' : typeof value;
  return value.constructor?.name ?? 'object';
}

/** A flag, null and undefined being absent. */
function flag(argument: string, value: unknown, usual: boolean): boolean {
  if (value === undefined || value === null) return usual;
  if (typeof value !== 'boolean') {
    throw invalid(argument, `Expected ${argument} to be true or false but received ${kindOf(value)}.`);
  }
  return value;
}

/** Throws OneheadError INVALID_ARGUMENT. */
export function checkOptions(options: OpenOptions): Reading {
  if (typeof options !== 'object' || options === null) {
    throw invalid('options', `Expected options to be an object but received ${kindOf(options)}.`);
  }
  const { sampleRate = 16000, signal, ffmpeg } = options;
  checkRate(sampleRate);
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalid('signal', `Expected signal to be an AbortSignal but received ${kindOf(signal)}.`);
  }
  return { sampleRate, ffmpeg: flag('ffmpeg', ffmpeg, true) };
}
