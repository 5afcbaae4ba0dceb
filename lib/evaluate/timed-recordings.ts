/** Finds recordings with reference word times, and measures the errors of transcribed word times. */
import { readdir, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { OneheadError, shown } from '../errors.js';
import type { Transcription } from '../whisper/transcription/types.js';
import { invalidAlignment } from './alignments/timed-word.js';
import { alignmentExtensions, readAlignment, type TimedWord } from './alignments.js';
import { isTextFile, transcribeOr } from './evaluate.js';
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

const stem = (file: string): string => basename(file, extname(file));

async function kindOf(path: string): Promise<'file' | 'folder'> {
  const status = await stat(path).catch(() => null);
  if (!status)
    throw new OneheadError(
      'AUDIO_NOT_FOUND',
      `There is no file or folder ${shown(path)}; name a recording or a folder of recordings.`,
    );
  return status.isDirectory() ? 'folder' : 'file';
}

/**
 * A recording, or all recordings of a folder, with their reference words. Recordings without a reference are left out.
 * `reference` is one of
 * - the file of one recording
 * - a CTM file of several recordings
 * - a folder with NAME.TextGrid, NAME.ctm or NAME.json for each recording
 *
 * Throws OneheadError AUDIO_NOT_FOUND or INVALID_ARGUMENT.
 */
export async function findTimedRecordings(path: string, reference: string, tier?: string): Promise<TimedRecording[]> {
  const folder = (await kindOf(path)) === 'folder';
  const names = folder ? (await readdir(path)).sort().map((name) => join(path, name)) : [path];
  const files = names.filter((name) => !folder || !isTextFile(name));
  const status = await stat(reference).catch(() => null);
  if (!status)
    throw invalidAlignment(
      `There is no file or folder ${shown(reference)}; name a file of word times, or a folder of such files.`,
    );
  const references = status.isDirectory() ? new Set(await readdir(reference)) : null;
  if (!references && folder && extname(reference).toLowerCase() !== '.ctm') {
    throw invalidAlignment(
      `${shown(reference)} has the words of one recording, but ${shown(path, 80)} is a folder; name a folder of such files.`,
    );
  }
  const found: TimedRecording[] = [];
  for (const file of files) {
    const recording = stem(file);
    if (references) {
      const extension = alignmentExtensions.find((candidate) => references.has(recording + candidate));
      if (extension === undefined) continue;
      found.push({ file, words: await readAlignment(join(reference, recording + extension), { tier, recording }) });
    } else found.push({ file, words: await readAlignment(reference, { tier, recording, named: folder }) });
  }
  const timed = found.filter(({ words }) => words.length > 0);
  if (timed.length === 0) {
    throw invalidAlignment(
      `${shown(reference)} has no words for any recording of ${shown(path, 80)}; put NAME.TextGrid, NAME.ctm or NAME.json there for NAME.flac (or wav, mp3, ...).`,
    );
  }
  return timed;
}

/** Transcribes each recording and compares its word times; `onResult` and `onFailure` are those of `evaluate`. */
export async function evaluateWords(
  recordings: readonly TimedRecording[],
  transcribe: (file: string) => Promise<Transcription>,
  normalizer: NormalizerName = 'english',
  onResult: (result: TimedRecordingResult) => void = () => {},
  onFailure?: (error: OneheadError) => void,
): Promise<WordEvaluation> {
  const files: TimedRecordingResult[] = [];
  const all: WordTimeError[] = [];
  for (const { file, words } of recordings) {
    const transcription = await transcribeOr(transcribe, file, onFailure);
    if (!transcription) continue;
    const hypothesis = transcription.segments.flatMap((segment) => segment.words ?? []);
    const errors = wordTimeErrors(words, hypothesis, normalizer);
    all.push(...errors);
    files.push({ file, ...summarizeWordTimes(errors, words.length) });
    onResult(files.at(-1)!);
  }
  const words = files.reduce((sum, file) => sum + file.words, 0);
  return { normalizer, files, ...summarizeWordTimes(all, words) };
}
