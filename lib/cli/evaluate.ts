/** `onehead evaluate`: error rates of recordings with known texts, and errors of word times with known alignments. */
import { basename } from 'node:path';
import { evaluate, findRecordings, type Rates } from '../evaluate/evaluate.js';
import { evaluateWords, findTimedRecordings } from '../evaluate/timed-recordings.js';
import type { TimeErrors, WordTimes } from '../evaluate/word-times.js';
import { check } from '../options/options.js';
import { Whisper } from '../whisper/whisper.js';
import { readArguments } from './arguments.js';
import { evaluateOptions } from './command-options.js';
import { evaluateLive } from './evaluate-live.js';
import { evaluateTypes } from './evaluate-types.js';
import { flagsHelp, flagsOf, optionsFrom } from './flags.js';
import { modelChoice, modelFlags } from './model-choice.js';
import { UsageError, warningPrinter } from './usage.js';

const ownFlags = flagsOf(evaluateOptions);
/** Word timestamps cannot be chosen here: --words gives the reference. */
const otherFlags = modelFlags.filter(({ name }) => ownFlags.every((own) => own.name !== name));

export const evaluateHelp =
  () => `onehead evaluate DIR|LIST              word and character error rates of recordings with texts
onehead evaluate FILE|DIR --words REF  errors of word times
onehead evaluate DIR|LIST --compare TYPE,...  compares dtypes

  DIR holds NAME.flac (or wav, mp3, ...) with NAME.txt beside it. Each line of LIST is a path, a tab and the text, or
  JSON: {"audio": PATH, "text": TEXT}.
${flagsHelp(ownFlags)}
  and transcribe's options of models and decoding. The exit status is 3 if a part of a recording could not be read.
`;

const percent = (rate: number): string => (Number.isFinite(rate) ? `${(100 * rate).toFixed(2)} %` : '-').padStart(9);

function line({ wordErrorRate, characterErrorRate, words }: Rates, name: string): string {
  const { hits, substitutions, deletions, insertions } = words;
  const counts = [hits + substitutions + deletions, substitutions, deletions, insertions];
  const columns = counts.map((count) => String(count).padStart(7)).join('');
  return `${percent(wordErrorRate)}${percent(characterErrorRate)}${columns}  ${name}\n`;
}

const milliseconds = (seconds: number): string => (Number.isFinite(seconds) ? (1000 * seconds).toFixed(0) : '-');
const share = (part: number): string => (Number.isFinite(part) ? `${(100 * part).toFixed(0)} %` : '-');

function timeColumns({ mean, bias, within50, within, within200 }: TimeErrors): string {
  return [milliseconds(mean), milliseconds(bias), ...[within50, within, within200].map(share)]
    .map((column) => column.padStart(7))
    .join('');
}

const timesHead = `   words  found |   start   bias    50ms  100ms  200ms |     end   bias   50ms  100ms  200ms   file (errors in ms)\n`;

function timesLine({ words, matched, starts, ends }: WordTimes, name: string): string {
  const counts = [words, matched].map((count) => String(count).padStart(7)).join('');
  return `${counts} |${timeColumns(starts)} |${timeColumns(ends)}   ${name}\n`;
}

/** Returns the exit status. */
export async function evaluateCommand(args: string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = readArguments('evaluate', args, [...ownFlags, ...otherFlags]);
  if (positionals.length !== 1) throw new UsageError('Give one folder of recordings, or one list.');
  const own = check(evaluateOptions, optionsFrom(evaluateOptions, ownFlags, values));
  const { model, normalizer, words, tier, live } = own;
  if (tier !== undefined && words === undefined) {
    throw new UsageError('--tier names a tier of the reference of --words; give --words too.');
  }
  const lone = (['policy', 'threshold', 'interval', 'window'] as const).find((name) => own[name]);
  if (lone && !live) throw new UsageError(`--${lone} is for live transcription; add --live, or leave it out.`);
  if (live && words !== undefined)
    throw new UsageError('--live does not measure word times; leave out --live or --words.');
  if (own.compare && (live || words !== undefined || values.dtype !== undefined || values.precision !== undefined)) {
    throw new UsageError(
      '--compare loads the model with each type; leave out --live, --words, --dtype and --precision.',
    );
  }
  const ownNames = new Set(ownFlags.map(({ name }) => name));
  const choice = modelChoice(Object.fromEntries(Object.entries(values).filter(([name]) => !ownNames.has(name))));
  const [path] = positionals;
  const timed = words === undefined ? null : await findTimedRecordings(path, words, tier);
  const recordings = timed ? [] : await findRecordings(path);
  const { onWarning, exitStatus } = warningPrinter();
  if (own.compare) {
    const load = { ...choice.load, signal };
    const transcribe = { ...choice.transcribe, signal, onWarning };
    await evaluateTypes(recordings, { ...own, compare: own.compare }, load, transcribe);
    return exitStatus();
  }
  const whisper = await Whisper.load(model, { ...choice.load, signal });
  const transcribe = (file: string) =>
    whisper.transcribe(file, { ...choice.transcribe, ...(timed && { wordTimestamps: true }), signal, onWarning });
  const print = (text: string) => own.format === 'text' && process.stdout.write(text);
  try {
    if (live) {
      await evaluateLive(whisper, recordings, own, choice.transcribe.language, signal);
      return exitStatus();
    }
    let result: object;
    if (timed) {
      print(timesHead);
      const found = await evaluateWords(timed, transcribe, normalizer, (one) => {
        print(timesLine(one, basename(one.file)));
      });
      print(timesLine(found, `total of ${timed.length}`));
      result = found;
    } else {
      print('      WER      CER  words   subs   dels    ins  file\n');
      const found = await evaluate(recordings, transcribe, normalizer, (one) => {
        print(line(one, basename(one.file)));
      });
      print(line(found, `total of ${recordings.length}`));
      result = found;
    }
    if (own.format === 'json') process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
  } finally {
    whisper.dispose();
  }
  return exitStatus();
}
