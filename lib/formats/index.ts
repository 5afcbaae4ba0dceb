/** A transcription as text of each output format, in openai/whisper's forms where it has them. */
import type { Segment, Transcription } from '../whisper/transcription/types.js';
import type { FormatOptions } from './cues.js';
import { ass, lrc, srt, vtt } from './subtitles.js';

export type { FormatOptions } from './cues.js';

function text({ segments }: Transcription): string {
  return segments.map((segment) => `${segment.text.trim()}\n`).join('');
}

/** A table with times in whole milliseconds. */
function table({ segments }: Transcription, separator: string, cell: (text: string) => string): string {
  const lines = segments.map(({ start, end, text: words }) =>
    [Math.round(start * 1000), Math.round(end * 1000), cell(words.trim())].join(separator),
  );
  return [['start', 'end', 'text'].join(separator), ...lines].map((line) => `${line}\n`).join('');
}

const tsv = (transcription: Transcription): string =>
  table(transcription, '\t', (words) => words.replaceAll('\t', ' ').replaceAll('\n', ' '));
const csv = (transcription: Transcription): string =>
  table(transcription, ',', (words) => `"${words.replaceAll('"', '""')}"`);

/** Warnings, where there are any: a result without them is as other programs write it. */
const warned = (warnings: string[]) => (warnings.length > 0 ? { warnings } : {});

/** The text with each segment's times and token ids: what one compares with another implementation. */
function json({ text: words, language, segments, warnings = [] }: Transcription): string {
  const short = segments.map(({ id, start, end, text: part, tokens, words: timed, top_logprobs }: Segment) => ({
    id,
    start,
    end,
    text: part,
    tokens,
    words: timed,
    top_logprobs,
  }));
  return `${JSON.stringify({ text: words, language, segments: short, ...warned(warnings) })}\n`;
}

/** OpenAI's verbose_json; words stand beside the segments too, where they were asked for. */
function verboseJson({ task, language, duration, text: words, segments, warnings = [] }: Transcription): string {
  const timed = segments.some((segment) => segment.words)
    ? segments.flatMap((segment) =>
        (segment.words ?? []).map(({ word, start, end }) => ({ word: word.trim(), start, end })),
      )
    : undefined;
  return `${JSON.stringify({ task, language, duration, text: words, segments, words: timed, ...warned(warnings) }, null, 2)}\n`;
}

export interface Format {
  extension: string;
  write(transcription: Transcription, options?: FormatOptions): string;
}

export const formats = {
  text: { extension: 'txt', write: text },
  json: { extension: 'json', write: json },
  verbose_json: { extension: 'verbose.json', write: verboseJson },
  srt: { extension: 'srt', write: srt },
  vtt: { extension: 'vtt', write: vtt },
  tsv: { extension: 'tsv', write: tsv },
  csv: { extension: 'csv', write: csv },
  lrc: { extension: 'lrc', write: lrc },
  ass: { extension: 'ass', write: ass },
} as const satisfies Record<string, Format>;

export type FormatName = keyof typeof formats;
