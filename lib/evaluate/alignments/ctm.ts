/** Reads NIST's CTM: lines of recording, channel, start, duration, word, and optionally a confidence. */
import { shown } from '../../errors.js';
import { type AlignmentOptions, invalidAlignment, type TimedWord } from './timed-word.js';

export function readCtm(text: string, name: string, { recording, named }: AlignmentOptions): TimedWord[] {
  const byRecording = new Map<string, TimedWord[]>();
  for (const [index, line] of text.split(/\r\n|\r|\n/).entries()) {
    const [file, channel, startText, durationText, word] = line.trim().split(/\s+/);
    if (file === '' || file.startsWith(';;')) continue;
    const [start, duration] = [Number(startText), Number(durationText)];
    if (word === undefined || channel === undefined || Number.isNaN(start) || Number.isNaN(duration)) {
      throw invalidAlignment(
        `${name}, line ${index + 1}: expected recording, channel, start, duration and word, but found '${shown(line.trim(), 80)}'.`,
      );
    }
    const words = byRecording.get(file) ?? [];
    byRecording.set(file, words);
    words.push({ word, start, end: start + duration });
  }
  const words = recording === undefined ? undefined : byRecording.get(recording);
  if (words) return words;
  if (byRecording.size === 0 || named) return [];
  // A file of a single recording is used whatever the name of the recording.
  if (byRecording.size === 1) return [...byRecording.values()][0];
  const names = shown([...byRecording.keys()].join(', '));
  const missing = recording === undefined ? '; name one of them' : `, but not of '${shown(recording, 60)}'`;
  throw invalidAlignment(`${name} has words of ${byRecording.size} recordings (${names})${missing}.`);
}
