/** Recordings with references of their words' times, and how far transcription is from them. */
import { readdir, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { OneheadError, shown } from '../errors.js';
import type { Transcription } from '../whisper/transcription/types.js';
import { invalidAlignment } from './alignments/timed-word.js';
import { alignmentEndings, readAlignment, type TimedWord } from './alignments.js';
import type { NormalizerName } from './normalize.js';
import { summarizeWordTimes, type WordTimeError, type WordTimes, wordTimeErrors } from './word-times.js';

export interface TimedRecording {
  file: string;
  words: TimedWord[];
}

export interface TimedRecordingResult extends WordTimes {
  file: string;
}

export interface WordEvaluation extends WordTimes {
  normalizer: NormalizerName;
  files: TimedRecordingResult[];
}

const texts = new Set(['.txt', '.json', '.jsonl', '.tsv', '.csv', '.md', '.ctm', '.textgrid', '.lab']);

const stem = (file: string): string => basename(file, extname(file));

async function kindOf(path: string): Promise<'file' | 'folder'> {
  const status = await stat(path).catch(() => null);
  if (!status) throw new OneheadError('AUDIO_NOT_FOUND', `There is no ${shown(path)}; name a recording or a folder.`);
  return status.isDirectory() ? 'folder' : 'file';
}

/**
 * A recording, or all of a folder, with the words of `reference`: a file of one recording's, a CTM file of several, or
 * a folder in which NAME.TextGrid, NAME.ctm or NAME.json has those of NAME. Recordings without a reference are left
 * out. Throws OneheadError AUDIO_NOT_FOUND or INVALID_ARGUMENT.
 */
export async function findTimedRecordings(path: string, reference: string, tier?: string): Promise<TimedRecording[]> {
  const folder = (await kindOf(path)) === 'folder';
  const names = folder ? (await readdir(path)).sort().map((name) => join(path, name)) : [path];
  const files = names.filter((name) => !folder || !texts.has(extname(name).toLowerCase()));
  const status = await stat(reference).catch(() => null);
  if (!status)
    throw invalidAlignment(`There is no ${shown(reference)}; name a file of words' times, or a folder of them.`);
  const own = status.isDirectory() ? new Set(await readdir(reference)) : null;
  if (!own && folder && extname(reference).toLowerCase() !== '.ctm') {
    throw invalidAlignment(
      `${shown(reference)} has the words of one recording, but ${shown(path, 80)} is a folder; name a folder of such files.`,
    );
  }
  const found: TimedRecording[] = [];
  for (const file of files) {
    const recording = stem(file);
    if (own) {
      const ending = alignmentEndings.find((one) => own.has(recording + one));
      if (ending === undefined) continue;
      found.push({ file, words: await readAlignment(join(reference, recording + ending), { tier, recording }) });
    } else found.push({ file, words: await readAlignment(reference, { tier, recording, named: folder }) });
  }
  const timed = found.filter(({ words }) => words.length > 0);
  if (timed.length === 0) {
    throw invalidAlignment(
      `${shown(reference)} has the words of no recording of ${shown(path, 80)}; put NAME.TextGrid, NAME.ctm or NAME.json there for NAME.flac (or wav, mp3, ...).`,
    );
  }
  return timed;
}

/** Transcribes each recording with words and compares their times; `onResult` is told of each. */
export async function evaluateWords(
  recordings: readonly TimedRecording[],
  transcribe: (file: string) => Promise<Transcription>,
  normalizer: NormalizerName = 'english',
  onResult: (result: TimedRecordingResult) => void = () => {},
): Promise<WordEvaluation> {
  const files: TimedRecordingResult[] = [];
  const all: WordTimeError[] = [];
  for (const { file, words } of recordings) {
    const { segments } = await transcribe(file);
    const heard = segments.flatMap((segment) => segment.words ?? []);
    const errors = wordTimeErrors(words, heard, normalizer);
    all.push(...errors);
    files.push({ file, ...summarizeWordTimes(errors, words.length) });
    onResult(files.at(-1)!);
  }
  const words = files.reduce((sum, one) => sum + one.words, 0);
  return { normalizer, files, ...summarizeWordTimes(all, words) };
}
