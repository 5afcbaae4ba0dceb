/** Computes figures from the transcriptions of a system. */
import {
  addCounts,
  type ErrorCounts,
  errorRate,
  noCounts,
  type TextErrors,
  textErrors,
} from '../../lib/evaluate/errors.js';
import { normalizeBasic, normalizeEnglish } from '../../lib/evaluate/normalize.js';
import { summarizeWordTimes, type WordTimes, wordTimeErrors } from '../../lib/evaluate/word-times.js';
import type { RealRecording } from './recordings.js';
import type { RecordingRun, SystemRun } from './systems.js';

/** Languages without spaces between words, of which characters are counted. */
const spacelessLanguages = new Set(['zh', 'ja', 'yue', 'th', 'lo', 'my', 'km']);

/** Normalizes a text by openai/whisper's rules. In languages without spaces, each character becomes a word. */
export function normalized(text: string, language: string | null): string {
  if (language === 'en') return normalizeEnglish(text);
  const basic = normalizeBasic(text);
  if (!spacelessLanguages.has(language ?? '')) return basic;
  return [...basic].filter((character) => character.trim() !== '').join(' ');
}

export interface Errors {
  recordings: number;
  words: ErrorCounts;
  wordErrorRate: number;
  characterErrorRate: number;
}

export interface RecordingScore {
  name: string;
  kind: string;
  /** The recording's language, and the language that the system detected. */
  language: string | null;
  found: string | null;
  seconds: number;
  /** Wall seconds of the transcription; the minimum of the rounds. */
  took: number;
  /** CPU seconds of the transcription. */
  computed: number;
  text: string;
  words?: ErrorCounts;
}

export interface Figures {
  /** By language, with sums over 'others' (all but English) and 'all'; and by kind of audio. */
  languages: Record<string, Errors>;
  kinds: Record<string, Errors>;
  languageFound: { right: number; of: number };
  /** The texts of recordings without speech, except those without letters. */
  noSpeech: { recordings: number; texts: { name: string; text: string }[]; realTimeFactor: number };
  /** The names of recordings with speech but without text. */
  lost: string[];
  /** Seconds of audio per second; null if there are no such recordings. */
  speed: { under20s: number | null; over45s: number | null; all: number };
  /** Seconds of audio per CPU second, which other programs on the machine affect little. */
  cpuSpeed: { under20s: number | null; over45s: number | null };
  /** Seconds for transcribing the minute of faint noise. */
  faintMinute: number | null;
  /** The number of windows, and the share that was decoded again at a temperature above 0; null if it is not known. */
  fallback: { windows: number; share: number } | null;
  wordTimes: WordTimes | null;
  /** Peak memory of the process in bytes. */
  memory: number;
  /** Seconds for loading the model. */
  load: number;
}

function sum(scores: readonly { words: ErrorCounts; characters: ErrorCounts }[]): Errors {
  const words = scores.map((item) => item.words).reduce(addCounts, noCounts);
  const characters = scores.map((item) => item.characters).reduce(addCounts, noCounts);
  return {
    recordings: scores.length,
    words,
    wordErrorRate: errorRate(words),
    characterErrorRate: errorRate(characters),
  };
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  return groups;
}

/**
 * True if a text has letters or digits. Markers such as [BLANK_AUDIO] are included; the table counts them separately.
 */
const isText = (text: string): boolean => /[\p{L}\p{N}]/u.test(text);

interface Measured {
  run: RecordingRun;
  recording: RealRecording;
}

type Spoken = Measured & TextErrors;

const languageOf = ({ recording }: Measured): string => recording.language ?? 'unknown';

function errorsOf(spoken: readonly Spoken[]): Pick<Figures, 'languages' | 'kinds'> {
  const sums = (key: (item: Spoken) => string): Record<string, Errors> =>
    Object.fromEntries([...groupBy(spoken, key)].map(([name, group]) => [name, sum(group)]));
  const others = sum(spoken.filter((item) => languageOf(item) !== 'en'));
  return {
    languages: { ...sums(languageOf), others, all: sum(spoken) },
    kinds: sums(({ recording }) => recording.kind),
  };
}

/** Seconds of audio per second; null if nothing was measured. */
function speedOf(measured: readonly Measured[], clock: 'seconds' | 'cpuSeconds' = 'seconds'): number | null {
  const took = measured.reduce((total, { run }) => total + run[clock], 0);
  return took === 0 ? null : measured.reduce((total, { recording }) => total + recording.seconds, 0) / took;
}

function noSpeechOf(silent: readonly Measured[]): Figures['noSpeech'] {
  return {
    recordings: silent.length,
    texts: silent.filter(({ run }) => isText(run.text)).map(({ run }) => ({ name: run.name, text: run.text.trim() })),
    realTimeFactor: 1 / (speedOf(silent) ?? Number.NaN),
  };
}

function wordTimesOf(timed: readonly Measured[]): WordTimes | null {
  const errors = timed.flatMap(({ run, recording }) =>
    wordTimeErrors(
      recording.words,
      run.segments.flatMap((segment) => segment.words ?? []),
    ),
  );
  const words = timed.reduce((total, { recording }) => total + recording.words.length, 0);
  return errors.length === 0 ? null : summarizeWordTimes(errors, words);
}

const scoreOf = ({ run, recording }: Measured, words: ErrorCounts | undefined): RecordingScore => ({
  name: recording.name,
  kind: recording.kind,
  language: recording.language,
  found: run.language,
  seconds: recording.seconds,
  took: run.seconds,
  computed: run.cpuSeconds,
  text: run.text.trim(),
  words,
});

export function score(
  recordings: readonly RealRecording[],
  { runs, memory, load }: SystemRun,
): { figures: Figures; recordings: RecordingScore[] } {
  const byName = new Map(recordings.map((recording) => [recording.name, recording]));
  const measured = runs.map((run): Measured => ({ run, recording: byName.get(run.name)! }));
  const plain = measured.filter(({ run }) => !run.words);
  const silent = plain.filter(({ recording }) => recording.text === null);
  const spoken = plain
    .filter(({ recording }) => recording.text !== null)
    .map(({ run, recording }): Spoken => {
      const reference = normalized(recording.text!, recording.language);
      return { run, recording, ...textErrors(reference, normalized(run.text, recording.language)) };
    });
  const short = spoken.filter(({ recording }) => recording.seconds < 20);
  const long = spoken.filter(({ recording }) => recording.seconds > 45);
  const known = spoken.filter(({ recording }) => recording.language !== null);
  const wordsByRun = new Map(spoken.map(({ run, words }) => [run, words]));
  return {
    figures: {
      ...errorsOf(spoken),
      languageFound: {
        right: known.filter(({ run, recording }) => run.language === recording.language).length,
        of: known.length,
      },
      noSpeech: noSpeechOf(silent),
      lost: spoken.filter(({ run }) => !isText(run.text)).map(({ run }) => run.name),
      speed: { under20s: speedOf(short), over45s: speedOf(long), all: speedOf(spoken) ?? Number.NaN },
      cpuSpeed: { under20s: speedOf(short, 'cpuSeconds'), over45s: speedOf(long, 'cpuSeconds') },
      faintMinute: plain.find(({ run }) => run.name === 'made: faint noise, 60 s')?.run.seconds ?? null,
      fallback: fallback(plain.map(({ run }) => run)),
      wordTimes: wordTimesOf(measured.filter(({ run }) => run.words)),
      memory,
      load,
    },
    recordings: plain.map((item) => scoreOf(item, wordsByRun.get(item.run))),
  };
}

/** Counts windows by the seek positions of segments. Windows without segments are not counted. */
function fallback(runs: readonly RecordingRun[]): Figures['fallback'] {
  const windows = runs.flatMap(({ segments }) =>
    [...groupBy(segments, ({ seek }) => String(seek)).values()].map(([first]) => first.temperature),
  );
  const known = windows.filter((temperature) => temperature !== null && temperature !== undefined);
  if (known.length === 0) return null;
  return { windows: known.length, share: known.filter((temperature) => temperature > 0).length / known.length };
}
