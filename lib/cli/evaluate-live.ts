/** `onehead evaluate --live`: error rates and delays of live transcription, for combinations of its options. */
import { readSamples } from '../audio/join.js';
import { addCounts, type ErrorCounts, errorRate, noCounts, textErrors } from '../evaluate/errors.js';
import type { Recording } from '../evaluate/evaluate.js';
import { type LiveLags, quantile, simulateLive } from '../evaluate/live.js';
import { type NormalizerName, normalizers } from '../evaluate/normalize.js';
import type { Checked } from '../options/options.js';
import type { LiveOptions } from '../whisper/live/options.js';
import type { Whisper } from '../whisper/whisper.js';
import type { evaluateOptions } from './command-options.js';

/** A combination of options, and its results. */
export interface LiveRates extends LiveOptions {
  words: ErrorCounts;
  wordErrorRate: number;
  /** Seconds, at the 50th and 95th percentile. */
  lag: Record<keyof LiveLags, { p50: number; p95: number }>;
  /** Seconds of computing per second of audio. */
  load: number;
}

type Choice = Pick<
  Checked<typeof evaluateOptions>,
  'policy' | 'threshold' | 'interval' | 'window' | 'normalizer' | 'format'
>;

/** All combinations of the given values. Options that are not given keep their defaults. */
function combinations({ policy, threshold, interval, window }: Choice): LiveOptions[] {
  let all: LiveOptions[] = [{}];
  for (const [name, values] of Object.entries({ policy, window, interval, threshold })) {
    if (!values) continue;
    // The policy 'agreement' has no threshold.
    const applies = ({ policy }: LiveOptions) => name !== 'threshold' || policy !== 'agreement';
    all = all.flatMap((options) =>
      applies(options) ? values.map((value) => ({ ...options, [name]: value })) : [options],
    );
  }
  return all;
}

const head = [
  'policy    window interval threshold      WER   first text (s)       words (s)       final (s)    load',
  '                                                p50    p95     p50    p95     p50    p95',
].join('\n');

const number = (value: number | null | undefined, width: number): string =>
  (Number.isFinite(value) ? (value as number).toFixed(2) : '-').padStart(width);

function line({ policy, window, interval, threshold, wordErrorRate, lag, load }: LiveRates): string {
  const lags = (['first', 'words', 'final'] as const).map(
    (kind) => number(lag[kind].p50, 8) + number(lag[kind].p95, 7),
  );
  const options = [(policy ?? 'default').padEnd(9), number(window, 7), number(interval, 9), number(threshold, 10)];
  return `${options.join('')}${`${(100 * wordErrorRate).toFixed(2)} %`.padStart(9)} ${lags.join(' ')}${number(load, 8)}\n`;
}

/** Prints a line, or returns an object, for each combination. */
export async function evaluateLive(
  whisper: Whisper,
  recordings: readonly Recording[],
  choice: Choice,
  language: string | null | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { model } = whisper;
  const normalize = normalizers[choice.normalizer as NormalizerName];
  const text = choice.format === 'text';
  if (text) process.stdout.write(`${head}\n`);
  const all: LiveRates[] = [];
  for (const options of combinations(choice)) {
    let words = noCounts;
    let [duration, computed] = [0, 0];
    const lags: LiveLags = { first: [], words: [], final: [] };
    for (const { file, reference } of recordings) {
      signal.throwIfAborted();
      const { sampleRate } = model.checkpoint.preprocessor;
      const samples = await readSamples(file, { sampleRate, signal });
      const run = await simulateLive(model, samples, { ...options, language, signal });
      words = addCounts(words, textErrors(normalize(reference), normalize(run.text)).words);
      for (const kind of ['first', 'words', 'final'] as const) lags[kind].push(...run[kind]);
      duration += run.duration;
      computed += run.computed;
    }
    const quantiles = (values: readonly number[]) => ({ p50: quantile(values, 0.5), p95: quantile(values, 0.95) });
    const lag = { first: quantiles(lags.first), words: quantiles(lags.words), final: quantiles(lags.final) };
    const rates = { ...options, words, wordErrorRate: errorRate(words), lag, load: computed / duration };
    all.push(rates);
    if (text) process.stdout.write(line(rates));
  }
  if (!text) process.stdout.write(`${JSON.stringify(all, null, 2)}\n`);
}
