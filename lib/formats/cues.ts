/** Cues: segments, or lines of limited length made of words. Ported from openai/whisper's SubtitlesWriter. */
import type { Segment, Transcription, Word } from '../whisper/transcription/types.js';
import { columnsOf, unitsOf } from './columns.js';
import type { CheckedFormatOptions } from './options.js';

/** A displayed word with the space before it, which is omitted at the start of a line. */
export interface CueWord {
  text: string;
  start: number;
  end: number;
}

export interface Cue {
  start: number;
  end: number;
  /** Lines of words; a line of an unlimited segment counts as one word. */
  lines: CueWord[][];
  /** The speaker, if channels were transcribed separately. */
  speaker: string | null;
}

/** Seconds of silence that end a cue which may span several segments. */
const longPause = 3;
/** Seconds: some formats write shorter durations as zero. */
const shortest = 0.01;

/** True if the duration is longer than zero in every format. */
export const lasts = (start: number, end: number): boolean => Math.round((end - start) * 1e4) >= shortest * 1e4;

/** The name of a segment's channel; null if there is only one channel. */
export function speakerOf(
  { channel }: Pick<Segment, 'channel'>,
  { channelNames }: CheckedFormatOptions,
): string | null {
  if (channel === undefined) return null;
  const name = channelNames?.[channel] ?? `Channel ${channel}`;
  return name.replace(/\s+/g, ' ').trim() || null;
}

/** A speaker's name as a prefix of the text. */
export const asPrefix = (speaker: string | null): string => (speaker === null ? '' : `${speaker}: `);

type ShownWord = Pick<Word, 'word' | 'start' | 'end'>;

/** Divides a word or segment into parts, with times in proportion to their lengths. */
function shared(parts: readonly string[], start: number, end: number): ShownWord[] {
  const lengths = parts.map((part) => part.length);
  const whole = lengths.reduce((sum, length) => sum + length, 0);
  let before = 0;
  return parts.map((word, index) => {
    const from = start + ((end - start) * before) / whole;
    before += lengths[index];
    return { word, start: from, end: start + ((end - start) * before) / whole };
  });
}

const joinedLines = (text: string): string => text.replace(/\s*[\r\n]+\s*/g, ' ');

/** A segment's words; without word times, in proportion to their lengths. A word longer than a line is divided. */
function wordsOf({ words, text, start, end }: Segment, width: number, countWide: boolean): ShownWord[] {
  if (!words) return shared(unitsOf(joinedLines(text)), start, end);
  let blank = '';
  return words.flatMap((given) => {
    const word = blank + joinedLines(given.word);
    blank = word.trim() === '' ? word : '';
    if (blank !== '' || word === '') return [];
    const one = { word, start: given.start, end: given.end };
    return columnsOf(word.trim(), countWide) > width ? shared(unitsOf(word), given.start, given.end) : [one];
  });
}

/** A segment as one cue with the lines of its text; none if it has no text. */
function segmentCue({ text, start, end }: Segment): Omit<Cue, 'speaker'>[] {
  const lines = text
    .split(/[\r\n]+/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const shown = lines.map((line, index) => [{ text: index > 0 ? ` ${line}` : line, start, end }]);
  return lines.length === 0 ? [] : [{ start, end, lines: shown }];
}

/** Lines of words within the limits; `prefix` is shown before each cue. */
function limitedCues(
  segments: readonly Segment[],
  options: CheckedFormatOptions,
  prefix: string,
): Omit<Cue, 'speaker'>[] {
  const { maxLineWidth, maxLineCount, maxWordsPerLine = Number.POSITIVE_INFINITY, countWide = false } = options;
  const width = maxLineWidth ?? 1000;
  const prefixColumns = columnsOf(prefix, countWide);
  const keepsSegments = maxLineCount === undefined || maxLineWidth === undefined;
  const cues: CueWord[][][] = [];
  let lines: CueWord[][] = [];
  let length = 0;
  let last = segments[0]?.start ?? 0;
  for (const segment of segments) {
    wordsOf(segment, width, countWide).forEach(({ word, start, end }, index) => {
      const columns = columnsOf(word, countWide);
      const pause = !keepsSegments && start - last > longPause;
      const begins = index % maxWordsPerLine === 0;
      const newCue = begins && lines.length > 0 && keepsSegments;
      const full = length + columns > width || (index > 0 && begins);
      if (length > 0 && !full && !pause && !newCue) {
        lines.at(-1)!.push({ text: word, start, end });
        length += columns;
      } else {
        const tooMany = maxLineCount !== undefined && (pause || lines.length >= maxLineCount);
        if (lines.length > 0 && (tooMany || newCue)) {
          cues.push(lines);
          lines = [];
        }
        length = columnsOf(word.trimStart(), countWide) + (lines.length === 0 ? prefixColumns : 0);
        lines.push([{ text: word, start, end }]);
      }
      last = start;
    });
  }
  if (lines.length > 0) cues.push(lines);
  return cues.map((shown) => ({ start: shown[0][0].start, end: shown.at(-1)!.at(-1)!.end, lines: shown }));
}

/** Extends cues of zero duration until the next one, at most a second. */
function lasting(cues: readonly Cue[]): Cue[] {
  return cues.map((cue, index) => {
    if (lasts(cue.start, cue.end)) return cue;
    const next = cues[index + 1]?.start ?? Number.POSITIVE_INFINITY;
    return { ...cue, end: lasts(cue.start, next) ? Math.min(next, cue.start + 1) : cue.start + 0.1 };
  });
}

/**
 * The transcription's cues within the limits, in order of time, none of them empty or of zero duration. Speakers have
 * separate cues. `prefixOf` is what will be shown before a speaker's text.
 */
export function cuesOf(
  { segments }: Transcription,
  options: CheckedFormatOptions = {},
  prefixOf: (speaker: string | null) => string = () => '',
): Cue[] {
  const limited = options.maxLineWidth ?? options.maxLineCount ?? options.maxWordsPerLine;
  const plain = limited === undefined && !options.highlightWords;
  const channels = [...new Set(segments.map(({ channel }) => channel))];
  const cues = channels.flatMap((channel) => {
    const ofChannel = channels.length === 1 ? segments : segments.filter((segment) => segment.channel === channel);
    const speaker = speakerOf({ channel }, options);
    const found = plain ? ofChannel.flatMap(segmentCue) : limitedCues(ofChannel, options, prefixOf(speaker));
    return found.map((cue) => ({ ...cue, speaker }));
  });
  return lasting(cues.sort((a, b) => a.start - b.start));
}

/** A cue's text with lines joined by `lineBreak`; `write` formats each word, given its text and index. */
export function cueText(cue: Cue, lineBreak: string, write = (text: string, _word: number) => text): string {
  let index = 0;
  return cue.lines
    .map((line) =>
      line
        .map(({ text }, place) => {
          const [, blank, word] = /^(\s*)(.*)$/s.exec(text)!;
          return (place > 0 ? blank : '') + write(word, index++);
        })
        .join('')
        .trimEnd(),
    )
    .join(lineBreak);
}
