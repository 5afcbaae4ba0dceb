/** `onehead evaluate`: word and character error rates of recordings whose text is known. */
import { basename } from 'node:path';
import { evaluate, findRecordings, type Rates } from '../evaluate/evaluate.js';
import { check } from '../options/options.js';
import { Whisper } from '../whisper/whisper.js';
import { readArguments } from './arguments.js';
import { evaluateOptions } from './command-options.js';
import { flagsHelp, flagsOf, optionsFrom } from './flags.js';
import { modelChoice, modelFlags } from './model-choice.js';
import { UsageError, warningPrinter } from './usage.js';

const ownFlags = flagsOf(evaluateOptions);

export const evaluateHelp = () => `onehead evaluate DIR|LIST              error rates of recordings whose text is known

  DIR holds NAME.flac (or wav, mp3, ...) with NAME.txt beside it; LIST has lines of a path, a tab and the text, or JSON lines
  {"audio": PATH, "text": TEXT}
${flagsHelp(ownFlags)}
  and transcribe's options of models and decoding; the exit status is 3 where a part of a recording could not be read
`;

const percent = (rate: number): string => (Number.isFinite(rate) ? `${(100 * rate).toFixed(2)} %` : '-').padStart(9);

function line({ wordErrorRate, characterErrorRate, words }: Rates, name: string): string {
  const { hits, substitutions, deletions, insertions } = words;
  const counts = [hits + substitutions + deletions, substitutions, deletions, insertions];
  const columns = counts.map((count) => String(count).padStart(7)).join('');
  return `${percent(wordErrorRate)}${percent(characterErrorRate)}${columns}  ${name}\n`;
}

/** Gives the exit status. */
export async function evaluateCommand(args: string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = readArguments('evaluate', args, [...ownFlags, ...modelFlags]);
  if (positionals.length !== 1) throw new UsageError('Name one folder of recordings, or one list.');
  const { model, normalizer, format } = check(evaluateOptions, optionsFrom(evaluateOptions, ownFlags, values));
  const choice = modelChoice(values);
  const recordings = await findRecordings(positionals[0]);
  const { onWarning, exitStatus } = warningPrinter();
  const whisper = await Whisper.load(model, { ...choice.load, signal });
  try {
    const text = format === 'text';
    if (text) process.stdout.write('      WER      CER  words   subs   dels    ins  file\n');
    const result = await evaluate(
      recordings,
      (file) => whisper.transcribe(file, { ...choice.transcribe, signal, onWarning }),
      normalizer,
      (one) => text && process.stdout.write(line(one, basename(one.file))),
    );
    process.stdout.write(text ? line(result, `total of ${recordings.length}`) : `${JSON.stringify(result, null, 2)}\n`);
  } finally {
    whisper.dispose();
  }
  return exitStatus();
}
