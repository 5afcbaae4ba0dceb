/** Finds recordings with reference texts, and measures the errors of transcription on them. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, extname, join, resolve } from 'node:path';
import { refuse } from '../checks.js';
import { OneheadError, shown } from '../errors.js';
import { withoutByteOrderMark } from '../json.js';
import { quoted } from '../options/kinds.js';
import type { Transcription } from '../whisper/transcription/types.js';
import { addCounts, type ErrorCounts, errorRate, noCounts, textErrors } from './errors.js';
import { type NormalizerName, normalizers } from './normalize.js';

export interface Recording {
  file: string;
  reference: string;
}

export interface Rates {
  words: ErrorCounts;
  characters: ErrorCounts;
  wordErrorRate: number;
  characterErrorRate: number;
}

export interface RecordingResult extends Rates {
  file: string;
  reference: string;
  hypothesis: string;
  /** Seconds. */
  duration: number;
}

export interface Evaluation extends Rates {
  normalizer: NormalizerName;
  files: RecordingResult[];
}

/** Files beside recordings that are no recordings: texts, lists, word times and subtitles. */
const textExtensions = new Set([
  ...['.txt', '.json', '.jsonl', '.tsv', '.csv', '.md'],
  ...['.ctm', '.textgrid', '.lab', '.srt', '.vtt', '.lrc', '.ass'],
]);

export const isTextFile = (name: string): boolean => textExtensions.has(extname(name).toLowerCase());

const invalid = (message: string) => new OneheadError('INVALID_ARGUMENT', message);

/** The recordings of a folder that have a text: in a file NAME.txt, or in LibriSpeech's lists NAME.trans.txt. */
async function folderRecordings(folder: string): Promise<Recording[]> {
  const names = (await readdir(folder)).sort();
  const stems = new Map<string, string>();
  for (const name of names) {
    if (!isTextFile(name)) {
      stems.set(name.slice(0, name.length - extname(name).length), name);
    }
  }
  const recordings: Recording[] = [];
  for (const name of names.filter((file) => extname(file).toLowerCase() === '.txt')) {
    const text = withoutByteOrderMark(await readFile(join(folder, name), 'utf8'));
    if (name.endsWith('.trans.txt')) {
      for (const line of text.split('\n')) {
        const [, stem, reference] = /^(\S+)\s+(.*)$/.exec(line) ?? [];
        const file = stems.get(stem ?? '');
        if (file) recordings.push({ file: join(folder, file), reference });
      }
      continue;
    }
    const file = stems.get(name.slice(0, -4));
    if (file) recordings.push({ file: join(folder, file), reference: text });
  }
  if (recordings.length === 0) {
    throw invalid(
      `${shown(folder)} contains no recordings with texts; put NAME.txt next to each NAME.flac (or wav, mp3, ...).`,
    );
  }
  return recordings;
}

/** The recordings of a list: lines of path, tab and text, or of JSON {"audio", "text"}, with paths relative to it. */
async function listedRecordings(list: string): Promise<Recording[]> {
  const lines = withoutByteOrderMark(await readFile(list, 'utf8')).split(/\r?\n/);
  const recordings = lines.flatMap((line, index): Recording[] => {
    if (line.trim() === '') return [];
    let [audio, text] = line.split('\t') as [unknown, unknown];
    if (line.trim().startsWith('{')) {
      try {
        ({ audio, text } = JSON.parse(line) as { audio?: unknown; text?: unknown });
      } catch {
        text = undefined;
      }
    }
    if (typeof audio !== 'string' || typeof text !== 'string') {
      throw invalid(
        `${shown(list)}, line ${index + 1}: expected a path, a tab and the text, or {"audio": PATH, "text": TEXT}.`,
      );
    }
    return [{ file: resolve(dirname(list), audio), reference: text }];
  });
  if (recordings.length === 0) {
    throw invalid(`${shown(list)} is empty; write a path, a tab and the text on each line.`);
  }
  return recordings;
}

/** The recordings of a folder or a list. Throws OneheadError AUDIO_NOT_FOUND or INVALID_ARGUMENT. */
export async function findRecordings(path: string): Promise<Recording[]> {
  const status = await stat(path).catch(() => null);
  if (!status)
    throw new OneheadError(
      'AUDIO_NOT_FOUND',
      `There is no file or folder ${shown(path)}; name a folder of recordings or a list.`,
    );
  return status.isDirectory() ? folderRecordings(path) : listedRecordings(path);
}

function rates(words: ErrorCounts, characters: ErrorCounts): Rates {
  return { words, characters, wordErrorRate: errorRate(words), characterErrorRate: errorRate(characters) };
}

/** Transcribes a recording; null if that fails and `onFailure` is given, which then gets the error. */
export async function transcribeOr<T>(
  transcribe: (file: string) => Promise<T>,
  file: string,
  onFailure?: (error: OneheadError) => void,
): Promise<T | null> {
  try {
    return await transcribe(file);
  } catch (error) {
    if (!onFailure || !(error instanceof OneheadError)) throw error;
    onFailure(error);
    return null;
  }
}

/**
 * Transcribes each recording and counts the errors. `onResult` is called with the result of each recording. A recording
 * that cannot be transcribed is left out and `onFailure` called; without that, its error is thrown. Throws OneheadError
 * INVALID_ARGUMENT for an unknown normalizer.
 */
export async function evaluate(
  recordings: readonly Recording[],
  transcribe: (file: string) => Promise<Transcription>,
  normalizer: NormalizerName = 'english',
  onResult: (result: RecordingResult) => void = () => {},
  onFailure?: (error: OneheadError) => void,
): Promise<Evaluation> {
  const names = Object.keys(normalizers);
  if (!names.includes(normalizer)) refuse('normalizer', quoted(names), normalizer);
  const normalize = normalizers[normalizer];
  const files: RecordingResult[] = [];
  for (const { file, reference } of recordings) {
    const transcription = await transcribeOr(transcribe, file, onFailure);
    if (!transcription) continue;
    const { text, duration } = transcription;
    const { words, characters } = textErrors(normalize(reference), normalize(text));
    files.push({ file, reference: reference.trim(), hypothesis: text.trim(), duration, ...rates(words, characters) });
    onResult(files.at(-1)!);
  }
  const sum = (part: 'words' | 'characters') => files.map((file) => file[part]).reduce(addCounts, noCounts);
  return { normalizer, files, ...rates(sum('words'), sum('characters')) };
}
