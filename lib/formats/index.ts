/** Converts a transcription to each output format, as openai/whisper does if it has the format. */

import { check } from '../options/options.js';
import { languageNames } from '../whisper/checkpoint/languages.js';
import type { Segment, Transcription } from '../whisper/transcription/types.js';
import { asPrefix, speakerOf } from './cues.js';
import { type CheckedFormatOptions, type FormatOptions, formatOptions } from './options.js';
import { ass, lrc, srt, vtt } from './subtitles.js';

export type { FormatOptions } from './options.js';

/** A segment in the text format. @internal */
export function textLine(segment: Segment, options: FormatOptions = {}): string {
  return `${asPrefix(speakerOf(segment, check(formatOptions, options)))}${segment.text.trim()}\n`;
}

const text = ({ segments }: Transcription, options: CheckedFormatOptions = {}): string =>
  segments.map((segment) => textLine(segment, options)).join('');

/** A table with times in milliseconds, and a column of speakers if there are several. */
function table(
  { segments }: Transcription,
  options: CheckedFormatOptions,
  separator: string,
  cell: (text: string) => string,
): string {
  const speakers = segments.some(({ channel }) => channel !== undefined);
  const lines = segments.map((segment) => {
    const times = [segment.start, segment.end].map((seconds) => Math.round(seconds * 1000));
    return [...times, cell(segment.text.trim()), ...(speakers ? [cell(speakerOf(segment, options) ?? '')] : [])];
  });
  const head = ['start', 'end', 'text', ...(speakers ? ['channel'] : [])];
  return [head, ...lines].map((line) => `${line.join(separator)}\n`).join('');
}

const tsv = (transcription: Transcription, options: CheckedFormatOptions = {}): string =>
  table(transcription, options, '\t', (words) => words.replace(/[\t\r\n]/g, ' '));
const csv = (transcription: Transcription, options: CheckedFormatOptions = {}): string =>
  table(transcription, options, ',', (words) => `"${words.replaceAll('"', '""')}"`);

/** Warnings and omissions, if there are any: otherwise the result equals that of other programs. */
const notesOf = ({ warnings = [], omitted = [] }: Partial<Pick<Transcription, 'warnings' | 'omitted'>>) => ({
  ...(warnings.length > 0 && { warnings }),
  ...(omitted.length > 0 && { omitted }),
});

/** The text, and each segment's times and token ids, for comparison with other implementations. */
function json({ text: words, language, segments, ...rest }: Transcription): string {
  const short = segments.map(
    ({ id, start, end, text: part, tokens, words: timed, top_logprobs, channel }: Segment) => ({
      id,
      start,
      end,
      text: part,
      tokens,
      words: timed,
      top_logprobs,
      channel,
    }),
  );
  return `${JSON.stringify({ text: words, language, segments: short, ...notesOf(rest) })}\n`;
}

/** OpenAI's member is always a string. */
const nameOf = (language: string | null): string =>
  language === null ? 'unknown' : (languageNames.get(language) ?? language);

/**
 * The response of OpenAI's server: languages by name, the text without its leading space, and the billed seconds. Words
 * are also listed beside the segments, if requested.
 */
function verboseJson({ task, language, duration, text: whole, segments, ...rest }: Transcription): string {
  const timed = segments.some((segment) => segment.words)
    ? segments.flatMap(({ words = [] }) =>
        words.map(({ word, start, end, channel }) => ({ word: word.trim(), start, end, channel })),
      )
    : undefined;
  const answer = {
    task,
    language: nameOf(language),
    duration,
    text: whole.trimStart(),
    segments: segments.map((one) => (one.language === undefined ? one : { ...one, language: nameOf(one.language) })),
    words: timed,
    usage: { type: 'duration', seconds: Math.ceil(duration) },
    ...notesOf(rest),
  };
  return `${JSON.stringify(answer, null, 2)}\n`;
}

export interface Format {
  extension: string;
  /** Throws OneheadError INVALID_ARGUMENT for unknown or invalid options. */
  write(transcription: Transcription, options?: FormatOptions | null): string;
}

type Write = (transcription: Transcription, options: CheckedFormatOptions) => string;

/** A format whose options are checked. */
function format(extension: string, write: Write): Format {
  return { extension, write: (transcription, options) => write(transcription, check(formatOptions, options)) };
}

export const formats = {
  text: format('txt', text),
  json: format('json', json),
  verbose_json: format('verbose.json', verboseJson),
  srt: format('srt', srt),
  vtt: format('vtt', vtt),
  tsv: format('tsv', tsv),
  csv: format('csv', csv),
  lrc: format('lrc', lrc),
  ass: format('ass', ass),
} as const satisfies Record<string, Format>;

export type FormatName = keyof typeof formats;
