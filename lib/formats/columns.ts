/** The display width of a text, and the positions where it may be broken. */

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** Scripts without spaces between words, and marks that only they use. */
const unspaced =
  /[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Bopomofo}\p{scx=Yi}\p{scx=Thai}\p{scx=Lao}\p{scx=Khmer}\p{scx=Myanmar}\p{scx=Tibetan}\uff00-\uffef]/u;
/** East Asian wide characters and emoji: two columns in a terminal or a fixed-width subtitle. */
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}\p{Emoji_Presentation}]/u;
const opening = /[\p{Ps}\p{Pi}]$/u;
/** Characters that must not begin a line: closing punctuation, and small or lengthening kana. */
const closing = /^(?:(?![\p{Ps}\p{Pi}])\p{P}|[ーぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ々])/u;

/** Characters as a reader counts them; with `countWide`, wide ones count twice. */
export function columnsOf(text: string, countWide = false): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let columns = 0;
  for (const { segment } of graphemes.segment(text)) columns += countWide && wide.test(segment) ? 2 : 1;
  return columns;
}

/**
 * The units between which a line may be broken, each with the space before it: words, or in scripts without spaces,
 * characters with their marks. Spaces at the end are dropped.
 */
export function unitsOf(text: string): string[] {
  if (!unspaced.test(text)) return text.match(/\s*\S+/g) ?? [];
  const units: string[] = [];
  let unit = '';
  for (const { segment } of graphemes.segment(text)) {
    const blank = segment.trim() === '';
    const cut =
      unit.trim() !== '' &&
      (blank ||
        (!opening.test(unit) && !closing.test(segment) && (unspaced.test(segment) || unspaced.test(unit.slice(-1)))));
    if (cut) {
      units.push(unit);
      unit = '';
    }
    unit += segment;
  }
  if (unit.trim() !== '') units.push(unit);
  return units;
}
