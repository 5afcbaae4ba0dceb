/** Warnings: problems of a recording that can still be read. */

/**
 * Adds a warning. 'lost': a part of the recording could not be read, and its words are missing. 'mended': the problem
 * had no effect.
 */
export type Warn = (sentence: string, effect: 'lost' | 'mended') => void;

/** The maximum number of warnings kept, so that a stream with damage everywhere does not fill the memory. */
const most = 100;

export class Warnings {
  /** In the order of their occurrence, without duplicates. */
  readonly sentences: string[] = [];
  /** True once a part of the recording was lost. */
  incomplete = false;

  readonly warn: Warn = (sentence, effect) => {
    if (effect === 'lost') this.incomplete = true;
    if (this.sentences.includes(sentence) || this.sentences.length > most) return;
    this.sentences.push(this.sentences.length < most ? sentence : 'There are more warnings, which are left out.');
  };
}

/** Formats seconds as players do: '1:02:03.4'. */
export function clock(seconds: number): string {
  const tenths = Math.floor(seconds * 10);
  const [hours, minutes, rest] = [Math.floor(tenths / 36_000), Math.floor(tenths / 600) % 60, tenths % 600];
  const shown = `${String(Math.floor(rest / 10)).padStart(2, '0')}.${rest % 10}`;
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, '0')}:${shown}` : `${minutes}:${shown}`;
}
