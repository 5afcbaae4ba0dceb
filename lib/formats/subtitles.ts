/** srt, vtt, lrc and ass. */
import type { Transcription } from '../whisper/transcription/types.js';
import { type Cue, cuesOf, cueText, type FormatOptions } from './cues.js';
import { hourStamp, minuteStamp, timestamp } from './time.js';

/** What would end a cue early must not stand in its text. */
const safe = (text: string): string => text.replaceAll('-->', '->');

/** Stretches of a cue in order, each with the number of the word that is said in it, or -1. */
function stretches(cue: Cue, highlightWords: boolean): { start: number; end: number; word: number }[] {
  if (!highlightWords) return [{ start: cue.start, end: cue.end, word: -1 }];
  const found: { start: number; end: number; word: number }[] = [];
  let last = cue.start;
  cue.lines.flat().forEach(({ start, end }, word) => {
    if (last !== start) found.push({ start: last, end: start, word: -1 });
    found.push({ start, end, word });
    last = end;
  });
  return found;
}

interface TimedText {
  start: number;
  end: number;
  text: string;
}

function timedTexts(transcription: Transcription, options: FormatOptions): TimedText[] {
  return cuesOf(transcription, options).flatMap((cue) =>
    stretches(cue, options.highlightWords ?? false).map(({ start, end, word }) => ({
      start,
      end,
      text: safe(cueText(cue, '\n', word, (text) => `<u>${text}</u>`)),
    })),
  );
}

export function srt(transcription: Transcription, options: FormatOptions = {}): string {
  const times = (seconds: number) => timestamp(seconds, ',', true);
  return timedTexts(transcription, options)
    .map(({ start, end, text }, index) => `${index + 1}\n${times(start)} --> ${times(end)}\n${text}\n\n`)
    .join('');
}

export function vtt(transcription: Transcription, options: FormatOptions = {}): string {
  const times = (seconds: number) => timestamp(seconds, '.', false);
  const cues = timedTexts(transcription, options).map(
    ({ start, end, text }) => `${times(start)} --> ${times(end)}\n${text}\n\n`,
  );
  return `WEBVTT\n\n${cues.join('')}`;
}

/** A line for each cue; with highlighted words each word has its time (the enhanced form). */
export function lrc(transcription: Transcription, options: FormatOptions = {}): string {
  return cuesOf(transcription, options)
    .map((cue) => {
      const words = cue.lines.flat();
      const timed = words.map(
        ({ text, start }, i) => `${i > 0 && !/^\s/.test(text) ? ' ' : ''}<${minuteStamp(start)}>${text}`,
      );
      const text = options.highlightWords ? timed.join('') : cueText(cue, ' ');
      return `[${minuteStamp(cue.start)}]${text}\n`;
    })
    .join('');
}

const assHead = `[Script Info]
ScriptType: v4.00+
PlayResX: 1280
PlayResY: 720

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,48,&H00FFFFFF,&H0000FFFF,&H00000000,&H80000000,0,0,0,0,100,100,0,0,1,2,1,2,40,40,40,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
`;

/** Advanced SubStation Alpha; highlighted words are karaoke (\\k, in hundredths). */
export function ass(transcription: Transcription, options: FormatOptions = {}): string {
  // Braces hold commands and a backslash begins one; both have look-alikes without a meaning.
  const plain = (text: string) => text.replaceAll('\\', '＼').replaceAll('{', '｛').replaceAll('}', '｝');
  const events = cuesOf(transcription, options).map((cue) => {
    let last = cue.start;
    const lines = cue.lines.map((line) =>
      line
        .map(({ text, start, end }) => {
          if (!options.highlightWords) return plain(text);
          const hundredths = (seconds: number) => Math.max(0, Math.round(seconds * 100));
          const pause = start > last ? `{\\k${hundredths(start - last)}}` : '';
          last = end;
          return `${pause}{\\k${hundredths(end - start)}}${plain(text)}`;
        })
        .join(''),
    );
    return `Dialogue: 0,${hourStamp(cue.start)},${hourStamp(cue.end)},Default,,0,0,0,,${lines.join('\\N').replaceAll('\n', '\\N')}\n`;
  });
  return assHead + events.join('');
}
