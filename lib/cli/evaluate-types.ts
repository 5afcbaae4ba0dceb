/** `onehead evaluate --compare`: error rates and word times of several dtypes. */
import { type ComparedType, compareTypes } from '../evaluate/compare.js';
import type { Recording } from '../evaluate/evaluate.js';
import type { Checked } from '../options/options.js';
import type { DataType } from '../whisper/model/precision.js';
import type { LoadOptions } from '../whisper/model/types.js';
import type { TranscribeOptions } from '../whisper/transcription/options.js';
import { Whisper } from '../whisper/whisper.js';
import type { evaluateOptions } from './command-options.js';

type Choice = Pick<Checked<typeof evaluateOptions>, 'model' | 'normalizer' | 'format'> & {
  compare: readonly DataType[];
};

const head =
  '                                     texts   |    words move (ms)  |\n' +
  'type           WER   points     CER  changed |  start    end  <50ms | silence\n';

const number = (value: number, digits: number, width: number): string =>
  (Number.isFinite(value) ? value.toFixed(digits) : '-').padStart(width);

function line({
  type,
  wordErrorRate,
  difference,
  characterErrorRate,
  otherTexts,
  shift,
  silent,
}: ComparedType): string {
  const points = `${difference > 0 ? '+' : ''}${(100 * difference).toFixed(2)}`.padStart(8);
  const rates = `${number(100 * wordErrorRate, 2, 7)} %${points}${number(100 * characterErrorRate, 2, 6)} %`;
  const moved = `${number(1000 * shift.starts.mean, 1, 7)}${number(1000 * shift.ends.mean, 1, 7)}`;
  const near = `${number(100 * shift.starts.within50, 0, 5)} %`;
  return `${type.padEnd(9)}${rates}${String(otherTexts).padStart(9)} |${moved}${near} | ${silent ? 'silent' : 'NOT SILENT'}\n`;
}

/** Prints a line, or returns an object, for each type. */
export async function evaluateTypes(
  recordings: readonly Recording[],
  { model, compare, normalizer, format }: Choice,
  load: LoadOptions,
  options: TranscribeOptions,
): Promise<void> {
  const text = format === 'text';
  if (text) process.stdout.write(head);
  const open = async (dtype: string) => {
    const whisper = await Whisper.load(model, { ...load, dtype: dtype as DataType });
    return {
      transcribe: (audio: string | Float32Array) => whisper.transcribe(audio, { ...options, wordTimestamps: true }),
      close: () => whisper.dispose(),
    };
  };
  const all = await compareTypes(
    recordings,
    compare,
    open,
    normalizer,
    (result) => text && process.stdout.write(line(result)),
  );
  if (!text) process.stdout.write(`${JSON.stringify(all, null, 2)}\n`);
}
