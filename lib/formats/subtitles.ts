/** srt, vtt, lrc and ass. */
import type { Transcription } from '../whisper/transcription/types.js';
import { asPrefix, type Cue, cuesOf, cueText, lasts } from './cues.js';
import type { CheckedFormatOptions } from './options.js';
import { hourStamp, minuteStamp, timestamp } from './time.js';

interface Stretch {
  start: number;
  end: number;
  /** The index of the word spoken during it, or -1. */
  word: number;
}

/** Divides a cue into stretches, one for each highlighted word. A word of zero duration is not highlighted. */
function stretches(cue: Cue, highlightWords: boolean): Stretch[] {
  if (!highlightWords) return [{ start: cue.start, end: cue.end, word: -1 }];
  const found: Stretch[] = [];
  let last = cue.start;
  cue.lines.flat().forEach(({ start, end }, word) => {
    const pause = lasts(last, start);
    const from = pause ? start : last;
    if (!lasts(from, end)) return;
    if (pause) found.push({ start: last, end: start, word: -1 });
    found.push({ start: from, end, word });
    last = end;
  });
  if (lasts(last, cue.end)) found.push({ start: last, end: cue.end, word: -1 });
  return found;
}

interface TimedText {
  start: number;
  end: number;
  text: string;
}

/**
 * The texts of cues, in order of time, which WebVTT requires. `write` formats each word; the word being spoken is
 * underlined if requested.
 */
function timedTexts(
  cues: readonly Cue[],
  { highlightWords = false }: CheckedFormatOptions,
  write: (text: string) => string,
) {
  const texts = cues.flatMap((cue) =>
    stretches(cue, highlightWords).map(({ start, end, word }): TimedText & Pick<Cue, 'speaker'> => {
      const mark = (text: string, index: number) => (index === word ? `<u>${write(text)}</u>` : write(text));
      return { start, end, text: cueText(cue, '\n', mark), speaker: cue.speaker };
    }),
  );
  // The words of speakers who interrupt each other alternate.
  return texts.sort((a, b) => a.start - b.start);
}

export function srt(transcription: Transcription, options: CheckedFormatOptions = {}): string {
  const times = (seconds: number) => timestamp(seconds, ',', true);
  // SRT cannot escape an arrow, which would look like times.
  const safe = (text: string) => text.replace(/-{2,}>/g, '->');
  return timedTexts(cuesOf(transcription, options, asPrefix), options, (text) => text)
    .map(
      ({ start, end, text, speaker }, index) =>
        `${index + 1}\n${times(start)} --> ${times(end)}\n${safe(asPrefix(speaker) + text)}\n\n`,
    )
    .join('');
}

export function vtt(transcription: Transcription, options: CheckedFormatOptions = {}): string {
  const times = (seconds: number) => timestamp(seconds, '.', false);
  const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  const cues = timedTexts(cuesOf(transcription, options), options, escaped).map(({ start, end, text, speaker }) => {
    const voice = speaker === null ? '' : `<v ${escaped(speaker)}>`;
    return `${times(start)} --> ${times(end)}\n${voice}${text}\n\n`;
  });
  return `WEBVTT\n\n${cues.join('')}`;
}

/** A line for each cue; with highlighted words, each word has its time (the enhanced form). */
export function lrc(transcription: Transcription, options: CheckedFormatOptions = {}): string {
  return cuesOf(transcription, options, asPrefix)
    .map((cue) => {
      // The lines of a cue are joined again, with their original spaces.
      const words = cue.lines.flat();
      const timed = words.map(({ text, start }, i) => `<${minuteStamp(start)}>${i > 0 ? text : text.trimStart()}`);
      const text = options.highlightWords ? timed.join('') : cueText({ ...cue, lines: [words] }, '');
      return `[${minuteStamp(cue.start)}]${asPrefix(cue.speaker)}${text}\n`;
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

/** Advanced SubStation Alpha; highlighted words become karaoke (\\k, in hundredths). Speakers have their own column. */
export function ass(transcription: Transcription, options: CheckedFormatOptions = {}): string {
  // Braces contain commands and a backslash begins one; they are replaced by full-width look-alikes.
  const plain = (text: string) => text.replaceAll('\\', '＼').replaceAll('{', '｛').replaceAll('}', '｝');
  const hundredths = (seconds: number) => Math.max(0, Math.round(seconds * 100));
  const events = cuesOf(transcription, options).map((cue) => {
    let last = cue.start;
    const lines = cue.lines.map((line) =>
      line
        .map(({ text, start, end }, place) => {
          const word = plain(place > 0 ? text : text.trimStart());
          if (!options.highlightWords) return word;
          const pause = start > last ? `{\\k${hundredths(start - last)}}` : '';
          last = end;
          return `${pause}{\\k${hundredths(end - start)}}${word}`;
        })
        .join(''),
    );
    // Commas separate the columns.
    const name = plain(cue.speaker ?? '').replaceAll(',', '，');
    return `Dialogue: 0,${hourStamp(cue.start)},${hourStamp(cue.end)},Default,${name},0,0,0,,${lines.join('\\N')}\n`;
  });
  return assHead + events.join('');
}
