/** From what a system gave for each recording to its figures. */
import { addCounts, type ErrorCounts, errorRate, noCounts, textErrors } from '../../lib/evaluate/errors.js';
import { normalizeBasic, normalizeEnglish } from '../../lib/evaluate/normalize.js';
import {
  summarizeWordTimes,
  type WordTimeError,
  type WordTimes,
  wordTimeErrors,
} from '../../lib/evaluate/word-times.js';
import type { RealRecording } from './recordings.js';
import type { Heard, SystemRun } from './systems.js';

/** Languages whose words no blanks part: their characters are counted. */
const withoutBlanks = new Set(['zh', 'ja', 'yue', 'th', 'lo', 'my', 'km']);

/** A text as openai/whisper compares it; characters one by one where words are not parted by blanks. */
export function normalized(text: string, language: string | null): string {
  if (language === 'en') return normalizeEnglish(text);
  const plain = normalizeBasic(text);
  return withoutBlanks.has(language ?? '') ? [...plain].filter((c) => c.trim() !== '').join(' ') : plain;
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
  /** The recording's own language, and what the system took it for. */
  language: string | null;
  found: string | null;
  seconds: number;
  /** Seconds that it took: the shortest of the repeats. */
  took: number;
  /** Seconds that its threads computed. */
  computed: number;
  text: string;
  words?: ErrorCounts;
}

export interface Figures {
  /** By language, and 'en', 'others' and 'all' summed; by kind. */
  languages: Record<string, Errors>;
  kinds: Record<string, Errors>;
  languageFound: { right: number; of: number };
  /** Recordings without speech that got a text nevertheless. */
  noSpeech: { recordings: number; texts: { name: string; text: string }[]; realTimeFactor: number };
  /** Recordings with speech that got none. */
  lost: string[];
  /** Seconds of audio a second; null where there are no such recordings. */
  speed: { under20s: number | null; over45s: number | null; all: number };
  /** The same by the time that threads computed, which neighbours on the machine change little. */
  cpuSpeed: { under20s: number | null; over45s: number | null };
  /** Seconds for the minute of faint noise. */
  faintMinute: number | null;
  /** Share of decoded windows that were decoded again at a temperature above 0, and their number; null where the system does not tell. */
  fallback: { windows: number; share: number } | null;
  wordTimes: WordTimes | null;
  /** Bytes: the most that the process held at any time. */
  memory: number;
  /** Seconds until the model was loaded. */
  load: number;
}

function sum(scores: readonly { words: ErrorCounts; characters: ErrorCounts }[]): Errors {
  const total = scores.map((one) => one.words).reduce(addCounts, noCounts);
  const characters = scores.map((one) => one.characters).reduce(addCounts, noCounts);
  return {
    recordings: scores.length,
    words: total,
    wordErrorRate: errorRate(total),
    characterErrorRate: errorRate(characters),
  };
}

function grouped<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  return groups;
}

/** Letters or digits: marks such as [BLANK_AUDIO] too, which the table counts apart. */
const isText = (text: string): boolean => /[\p{L}\p{N}]/u.test(text);

export function score(
  recordings: readonly RealRecording[],
  { runs, memory, load }: SystemRun,
): { figures: Figures; recordings: RecordingScore[] } {
  const byName = new Map(recordings.map((recording) => [recording.name, recording]));
  const plain = runs.filter((run) => !run.words).map((heard) => ({ heard, recording: byName.get(heard.name)! }));
  const spoken = plain
    .filter(({ recording }) => recording.text !== null)
    .map(({ heard, recording }) => {
      const wanted = normalized(recording.text!, recording.language);
      return { heard, recording, ...textErrors(wanted, normalized(heard.text, recording.language)) };
    });
  const silent = plain.filter(({ recording }) => recording.text === null);

  const languages: Record<string, Errors> = {};
  const language = ({ recording }: { recording: RealRecording }) => recording.language ?? 'unknown';
  for (const [name, group] of grouped(spoken, language)) languages[name] = sum(group);
  languages.others = sum(spoken.filter((one) => language(one) !== 'en'));
  languages.all = sum(spoken);
  const kinds: Record<string, Errors> = {};
  for (const [kind, group] of grouped(spoken, ({ recording }) => recording.kind)) kinds[kind] = sum(group);

  const speed = (
    chosen: readonly { heard: Heard; recording: RealRecording }[],
    clock: 'seconds' | 'cpuSeconds' = 'seconds',
  ): number | null => {
    const took = chosen.reduce((total, { heard }) => total + heard[clock], 0);
    return took === 0 ? null : chosen.reduce((total, { recording }) => total + recording.seconds, 0) / took;
  };
  const short = spoken.filter(({ recording }) => recording.seconds < 20);
  const long = spoken.filter(({ recording }) => recording.seconds > 45);
  const known = spoken.filter(({ recording }) => recording.language !== null);
  const timed: { errors: WordTimeError[]; of: number }[] = runs
    .filter((run) => run.words)
    .map((heard) => {
      const wanted = byName.get(heard.name)!.words;
      return {
        errors: wordTimeErrors(
          wanted,
          heard.segments.flatMap((segment) => segment.words ?? []),
        ),
        of: wanted.length,
      };
    });
  const errors = timed.flatMap((one) => one.errors);

  return {
    figures: {
      languages,
      kinds,
      languageFound: {
        right: known.filter(({ heard, recording }) => heard.language === recording.language).length,
        of: known.length,
      },
      noSpeech: {
        recordings: silent.length,
        texts: silent
          .filter(({ heard }) => isText(heard.text))
          .map(({ heard }) => ({ name: heard.name, text: heard.text.trim() })),
        realTimeFactor: 1 / (speed(silent) ?? Number.NaN),
      },
      lost: spoken.filter(({ heard }) => !isText(heard.text)).map(({ heard }) => heard.name),
      speed: {
        under20s: speed(short),
        over45s: speed(long),
        all: speed(spoken) ?? Number.NaN,
      },
      cpuSpeed: { under20s: speed(short, 'cpuSeconds'), over45s: speed(long, 'cpuSeconds') },
      faintMinute: plain.find(({ heard }) => heard.name === 'made: faint noise, 60 s')?.heard.seconds ?? null,
      fallback: fallback(plain.map(({ heard }) => heard)),
      wordTimes:
        errors.length === 0
          ? null
          : summarizeWordTimes(
              errors,
              timed.reduce((total, { of }) => total + of, 0),
            ),
      memory,
      load,
    },
    recordings: plain.map(({ heard, recording }) => {
      const found = spoken.find((one) => one.heard === heard)?.words;
      const { name, kind, seconds } = recording;
      const text = heard.text.trim();
      return {
        name,
        kind,
        language: recording.language,
        found: heard.language,
        seconds,
        took: heard.seconds,
        computed: heard.cpuSeconds,
        text,
        words: found,
      };
    }),
  };
}

/** Windows are told apart by where they begin; one that gave no segment is not known. */
function fallback(heard: readonly Heard[]): Figures['fallback'] {
  const windows = heard.flatMap(({ segments }) =>
    [...grouped(segments, ({ seek }) => String(seek)).values()].map(([first]) => first.temperature),
  );
  const told = windows.filter((temperature) => temperature !== null && temperature !== undefined);
  if (told.length === 0) return null;
  return { windows: told.length, share: told.filter((temperature) => temperature > 0).length / told.length };
}
