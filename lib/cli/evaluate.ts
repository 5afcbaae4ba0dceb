/** `onehead evaluate`: error rates against reference texts, and errors of word times against reference alignments. */
import { basename } from 'node:path';
import type { OneheadError } from '../errors.js';
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
import { printMessage, warningPrinter } from './messages.js';
import { modelChoice, modelFlags } from './model-choice.js';
import { UsageError } from './usage.js';

const evaluateFlags = flagsOf(evaluateOptions);
/** Without those that evaluate's own flags replace, such as --words and --threshold. */
const otherFlags = modelFlags.filter(({ name }) => evaluateFlags.every((flag) => flag.name !== name));

export const evaluateHelp =
  () => `onehead evaluate DIR|LIST              word and character error rates of recordings with texts
onehead evaluate FILE|DIR --words REF  errors of word times
onehead evaluate DIR|LIST --compare TYPE,...  compares dtypes

  DIR contains NAME.flac (or wav, mp3, ...) and its text in NAME.txt. Each line of LIST is a path, a
  tab and the text, or JSON: {"audio": PATH, "text": TEXT}.
${flagsHelp(evaluateFlags)}
  and the model and decoding options of transcribe. A recording that cannot be transcribed is
  reported and left out, and the exit status is 1, except with --compare and --live, which end
  there. The exit status is 3 if a part of a recording could not be read.
`;

const percent = (rate: number): string => (Number.isFinite(rate) ? `${(100 * rate).toFixed(2)} %` : '-').padStart(9);

function line({ wordErrorRate, characterErrorRate, words }: Rates, name: string): string {
  const { hits, substitutions, deletions, insertions } = words;
  const counts = [hits + substitutions + deletions, substitutions, deletions, insertions];
  const columns = counts.map((count) => String(count).padStart(7)).join('');
  return `${percent(wordErrorRate)}${percent(characterErrorRate)}${columns}  ${name}\n`;
}

const totalOf = (transcribed: number, all: number): string =>
  transcribed === all ? `total of ${all}` : `total of ${transcribed}, without ${all - transcribed} that failed`;

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

/** Parses the arguments. Throws UsageError, also for options that have no effect together. */
function parse(args: string[]) {
  const { values, positionals } = readArguments('evaluate', args, [...evaluateFlags, ...otherFlags]);
  if (positionals.length !== 1) throw new UsageError('Give one folder of recordings, or one list.');
  const options = check(evaluateOptions, optionsFrom(evaluateOptions, evaluateFlags, values));
  const { words, tier, live } = options;
  if (tier !== undefined && words === undefined) {
    throw new UsageError('--tier selects a tier of the reference; add --words, or leave it out.');
  }
  const liveOption = (['policy', 'threshold', 'interval', 'window'] as const).find((name) => options[name]);
  if (liveOption && !live) {
    throw new UsageError(`--${liveOption} is for live transcription; add --live, or leave it out.`);
  }
  if (live && words !== undefined)
    throw new UsageError('--live does not measure word times; leave out --live or --words.');
  if (
    options.compare &&
    (live || words !== undefined || values.dtype !== undefined || values.precision !== undefined)
  ) {
    throw new UsageError(
      '--compare loads the model with each type; leave out --live, --words, --dtype and --precision.',
    );
  }
  const evaluateNames = new Set(evaluateFlags.map(({ name }) => name));
  const choice = modelChoice(Object.fromEntries(Object.entries(values).filter(([name]) => !evaluateNames.has(name))));
  if (live) {
    const unused = modelFlags.find(
      ({ option, within, name }) => (within ?? option) in choice.transcribe && option !== 'language' && name in values,
    );
    if (unused) throw new UsageError(`--live uses no decoding option but --language; leave out --${unused.name}.`);
  }
  return { path: positionals[0], options, choice };
}

/** Returns the exit status. */
export async function evaluateCommand(args: string[], signal: AbortSignal): Promise<number> {
  const { path, options, choice } = parse(args);
  const { model, normalizer, words, tier, live } = options;
  const timed = words === undefined ? null : await findTimedRecordings(path, words, tier);
  const recordings = timed ? [] : await findRecordings(path);
  const { onWarning, exitStatus } = warningPrinter();
  if (options.compare) {
    const load = { ...choice.load, signal };
    const transcribe = { ...choice.transcribe, signal, onWarning };
    await evaluateTypes(recordings, { ...options, compare: options.compare }, load, transcribe);
    return exitStatus();
  }
  const whisper = await Whisper.load(model, { ...choice.load, signal });
  const decoding = { ...choice.transcribe, ...(timed && { wordTimestamps: true }) };
  const transcribe = (file: string) => whisper.transcribe(file, { ...decoding, signal, onWarning });
  const print = (text: string) => options.format === 'text' && process.stdout.write(text);
  try {
    if (live) {
      await evaluateLive(whisper, recordings, options, choice.transcribe.language, signal);
      return exitStatus();
    }
    await whisper.checkOptions(decoding);
    let failures = 0;
    const onFailure = ({ message, argument }: OneheadError) => {
      failures += 1;
      printMessage(message, argument);
    };
    let result: object;
    if (timed) {
      print(timesHead);
      const total = await evaluateWords(
        timed,
        transcribe,
        normalizer,
        (recording) => {
          print(timesLine(recording, basename(recording.file)));
        },
        onFailure,
      );
      print(timesLine(total, totalOf(total.files.length, timed.length)));
      result = total;
    } else {
      print('      WER      CER  words   subs   dels    ins  file\n');
      const total = await evaluate(
        recordings,
        transcribe,
        normalizer,
        (recording) => {
          print(line(recording, basename(recording.file)));
        },
        onFailure,
      );
      print(line(total, totalOf(total.files.length, recordings.length)));
      result = total;
    }
    if (options.format === 'json') process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
    if (failures > 0) return 1;
  } finally {
    whisper.dispose();
  }
  return exitStatus();
}
