/** What is shown at a time: segments, or lines of limited length made of words. openai/whisper's SubtitlesWriter. */
import type { Segment, Transcription, Word } from '../whisper/transcription/types.js';

export interface FormatOptions {
  /** Characters of a line at most. */
  maxLineWidth?: number;
  /** Lines shown at once at most; with a width, cues may then run over the ends of segments. */
  maxLineCount?: number;
  maxWordsPerLine?: number;
  /** Each word is marked while it is said; needs words. */
  highlightWords?: boolean;
}

/** A word as it is shown; one that begins a line has no blank before it. */
export interface CueWord {
  text: string;
  start: number;
  end: number;
}

export interface Cue {
  start: number;
  end: number;
  /** Lines of words; a segment without words is one. */
  lines: CueWord[][];
}

/** Seconds of silence that end a cue which may run over the ends of segments. */
const longPause = 3;

/** A segment's words; where they have no times, those that their lengths suggest. */
function wordsOf({ words, text, start, end }: Segment): Pick<Word, 'word' | 'start' | 'end'>[] {
  if (words) return words;
  const found = text.match(/\s*\S+/g) ?? [];
  const length = found.reduce((sum, word) => sum + word.length, 0);
  let before = 0;
  return found.map((word) => {
    const from = start + ((end - start) * before) / length;
    before += word.length;
    return { word, start: from, end: start + ((end - start) * before) / length };
  });
}

function segmentCue({ text, start, end }: Segment): Cue {
  return { start, end, lines: [[{ text: text.trim(), start, end }]] };
}

/** The transcription's cues under these limits. */
export function cuesOf({ segments }: Transcription, options: FormatOptions = {}): Cue[] {
  const { maxLineWidth, maxLineCount, maxWordsPerLine = Number.POSITIVE_INFINITY, highlightWords } = options;
  const limited = maxLineWidth ?? maxLineCount ?? options.maxWordsPerLine;
  if (limited === undefined && !highlightWords) return segments.map(segmentCue);

  const width = maxLineWidth ?? 1000;
  const keepsSegments = maxLineCount === undefined || maxLineWidth === undefined;
  const cues: CueWord[][][] = [];
  let lines: CueWord[][] = [];
  let length = 0;
  let last = segments[0]?.start ?? 0;
  for (const segment of segments) {
    wordsOf(segment).forEach(({ word, start, end }, index) => {
      const pause = !keepsSegments && start - last > longPause;
      const begins = index % maxWordsPerLine === 0;
      const newCue = begins && lines.length > 0 && keepsSegments;
      const full = length + word.length > width || (index > 0 && begins);
      if (length > 0 && !full && !pause && !newCue) {
        lines.at(-1)!.push({ text: word, start, end });
        length += word.length;
      } else {
        const tooMany = maxLineCount !== undefined && (pause || lines.length >= maxLineCount);
        if (lines.length > 0 && (tooMany || newCue)) {
          cues.push(lines);
          lines = [];
        }
        lines.push([{ text: word.trim(), start, end }]);
        length = word.trim().length;
      }
      last = start;
    });
  }
  if (lines.length > 0) cues.push(lines);
  return cues.map((shown) => ({ start: shown[0][0].start, end: shown.at(-1)!.at(-1)!.end, lines: shown }));
}

/** A cue's text, lines joined by `lineBreak`, with word number `marked` wrapped by `mark`. */
export function cueText(cue: Cue, lineBreak: string, marked = -1, mark = (text: string) => text): string {
  let index = 0;
  return cue.lines
    .map((line) =>
      line
        .map(({ text }) => {
          if (index++ !== marked) return text;
          const [, blank, word] = /^(\s*)(.*)$/s.exec(text)!;
          return blank + mark(word);
        })
        .join(''),
    )
    .join(lineBreak);
}
