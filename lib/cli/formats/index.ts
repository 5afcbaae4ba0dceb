/** A transcription as text of each output format, in openai/whisper's forms. */
import type { Segment, Transcription } from '../../whisper/types.js';

/** HH:MM:SS.mmm; `hours` false leaves hours of 0 out. */
function timestamp(seconds: number, decimalMark: string, hours: boolean): string {
  const milliseconds = Math.round(seconds * 1000);
  const two = (value: number) => String(value).padStart(2, '0');
  const wholeHours = Math.floor(milliseconds / 3_600_000);
  const minutes = two(Math.floor(milliseconds / 60_000) % 60);
  const rest = `${minutes}:${two(Math.floor(milliseconds / 1000) % 60)}${decimalMark}${String(milliseconds % 1000).padStart(3, '0')}`;
  return hours || wholeHours > 0 ? `${two(wholeHours)}:${rest}` : rest;
}

/** What would end a cue early must not stand in its text. */
const cueText = (segment: Segment): string => segment.text.trim().replaceAll('-->', '->');

function text({ segments }: Transcription): string {
  return segments.map((segment) => `${segment.text.trim()}\n`).join('');
}

function srt({ segments }: Transcription): string {
  return segments
    .map(
      (segment, index) =>
        `${index + 1}\n${timestamp(segment.start, ',', true)} --> ${timestamp(segment.end, ',', true)}\n${cueText(segment)}\n\n`,
    )
    .join('');
}

function vtt({ segments }: Transcription): string {
  const cues = segments.map(
    (segment) =>
      `${timestamp(segment.start, '.', false)} --> ${timestamp(segment.end, '.', false)}\n${cueText(segment)}\n\n`,
  );
  return `WEBVTT\n\n${cues.join('')}`;
}

function tsv({ segments }: Transcription): string {
  const lines = segments.map(
    ({ start, end, text: words }) =>
      `${Math.round(start * 1000)}\t${Math.round(end * 1000)}\t${words.trim().replaceAll('\t', ' ')}\n`,
  );
  return `start\tend\ttext\n${lines.join('')}`;
}

/** The text with each segment's times and token ids: what one compares with another implementation. */
function json({ text: words, language, segments }: Transcription): string {
  const short = segments.map(({ id, start, end, text: part, tokens }) => ({ id, start, end, text: part, tokens }));
  return `${JSON.stringify({ text: words, language, segments: short })}\n`;
}

/** OpenAI's verbose_json. */
function verboseJson({ task, language, duration, text: words, segments }: Transcription): string {
  return `${JSON.stringify({ task, language, duration, text: words, segments }, null, 2)}\n`;
}

export const formats = {
  text: { extension: 'txt', write: text },
  json: { extension: 'json', write: json },
  verbose_json: { extension: 'verbose.json', write: verboseJson },
  srt: { extension: 'srt', write: srt },
  vtt: { extension: 'vtt', write: vtt },
  tsv: { extension: 'tsv', write: tsv },
} as const;

export type FormatName = keyof typeof formats;
