/** `onehead profile`: experiments on this machine, their reports, and comparisons of two results. */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { OneheadError } from '../errors.js';
import { compare, comparisonTable, differences } from '../profiler/compare.js';
import { type ExperimentName, experimentNames, experiments } from '../profiler/experiments/index.js';
import { type ExperimentResult, readResults, toCsv, writeResults } from '../profiler/measuring/result.js';
import { TraceFile } from '../profiler/measuring/trace.js';
import { describeRun, duration, toText } from '../profiler/report/figures.js';
import { warningsOf } from '../profiler/report/findings.js';
import { ensureRenderer } from '../profiler/report/render.js';
import { type ProfileOptions, profile, resolveSettings } from '../profiler/run.js';
import { tablesOf, writeReport } from '../profiler/write-report.js';
import { strictly } from './arguments.js';
import { progressBar } from './progress.js';
import { oneOf, positiveInteger, UsageError } from './usage.js';

export const profileHelp = `onehead profile NAME                  measures this machine; NAME is one of
${experimentNames.map((name) => `    ${name.padEnd(19)}${experiments[name].title}`).join('\n')}
    all                all of them
onehead profile compare A B           shows which rows of two --json files differ by more than the noise
onehead profile report FILE DIR       writes the report of a --json file

  --quick                small settings: all experiments in about two minutes on two idle cores
  --device DEVICE        cpu, cuda, cuda:N (default: auto, a usable GPU, else the CPU)
  --dtype TYPE           float32, float16 or bfloat16 (default: the checkpoint's, or the device's fastest)
  --threads N            CPU threads
  --models NAME,...      models with random weights: tiny, base, small, medium, large-v3, turbo
  --model DIR|NAME       one checkpoint instead, with its weights
  --batch N,...          batch sizes
  --tokens N             new tokens of each sequence
  --lengths N,...        positions (attention-types)
  --decoder-layers N,... numbers of decoder layers to keep
  --margins S,...        seconds of silence after a clip (audio-context)
  --audio DIR|LIST       recordings with texts, as for evaluate (audio-context)
  --repeats N            maximum number of measurements of each variant
  --seconds S            maximum time for each, after at least three measurements
  --json FILE            results, written after each group of cases
  --resume               continue with the results in the --json file
  --csv FILE             the rows as a table
  --report DIR           report.html, report.md and SVG plots
  --trace FILE           each program's operations, for ui.perfetto.dev
  --quiet                no progress bar
`;

interface ProfileCommand {
  names: ExperimentName[];
  options: ProfileOptions;
  json?: string;
  csv?: string;
  report?: string;
  trace?: string;
  resume: boolean;
  quiet: boolean;
}

const numbers = (option: string, value: string | undefined): number[] | undefined =>
  value?.split(',').map((text) => positiveInteger(option, text)!);

/** A list of seconds from 0. */
function secondsOf(option: string, value: string | undefined): number[] | undefined {
  const found = value?.split(',').map((text) => (text.trim() === '' ? Number.NaN : Number(text)));
  if (found?.every((one) => one >= 0) ?? true) return found;
  throw new UsageError(`Expected ${option} to be seconds from 0, separated by commas, but received '${value}'.`);
}

function parse(args: string[]): ProfileCommand {
  const text = { type: 'string' } as const;
  const config = {
    quick: { type: 'boolean' },
    resume: { type: 'boolean', default: false },
    quiet: { type: 'boolean', default: false },
    ...{
      device: text,
      dtype: text,
      threads: text,
      models: text,
      model: text,
      batch: text,
      tokens: text,
      lengths: text,
      margins: text,
      audio: text,
    },
    ...{ 'decoder-layers': text, repeats: text, seconds: text, json: text, csv: text, report: text, trace: text },
  } as const;
  const { values, positionals } = parseArgs({
    args: strictly('profile', args, config),
    allowPositionals: true,
    options: config,
  });
  const known = [...experimentNames, 'all'];
  if (positionals.length !== 1) throw new UsageError(`Give one experiment: ${known.join(', ')}; or compare, report.`);
  if (!known.includes(positionals[0])) {
    throw new UsageError(`There is no experiment '${positionals[0]}'; the experiments are ${known.join(', ')}.`);
  }
  if (values.resume && values.json === undefined)
    throw new UsageError('--resume continues the file of --json; give --json.');
  if (values.model !== undefined && values.models !== undefined)
    throw new UsageError('Give --models or --model, not both.');
  const seconds = values.seconds === undefined ? undefined : Number(values.seconds);
  if (seconds !== undefined && !(seconds > 0)) {
    throw new UsageError(`Expected --seconds to be a positive number but received '${values.seconds}'.`);
  }
  return {
    names: positionals[0] === 'all' ? [...experimentNames] : [positionals[0] as ExperimentName],
    options: {
      quick: values.quick,
      device: values.device,
      dtype:
        values.dtype === undefined ? undefined : oneOf('--dtype', values.dtype, ['float32', 'float16', 'bfloat16']),
      threads: positiveInteger('--threads', values.threads),
      models: values.models?.split(','),
      model: values.model,
      batches: numbers('--batch', values.batch),
      tokens: positiveInteger('--tokens', values.tokens),
      lengths: numbers('--lengths', values.lengths),
      margins: secondsOf('--margins', values.margins),
      audio: values.audio,
      decoderLayers: numbers('--decoder-layers', values['decoder-layers']),
      repeats: positiveInteger('--repeats', values.repeats),
      seconds,
    },
    ...{ json: values.json, csv: values.csv, report: values.report, trace: values.trace },
    ...{ resume: values.resume, quiet: values.quiet },
  };
}

/** Unused settings are ignored when all experiments run, and refused when a single one runs. */
function optionsOf(name: ExperimentName, { names, options }: ProfileCommand): ProfileOptions {
  if (names.length === 1) return options;
  const own = ['models', 'model', 'batches', 'tokens', 'lengths', 'decoderLayers', 'margins', 'audio'] as const;
  const taken = { ...options };
  for (const key of own)
    if (!Object.hasOwn(experiments[name].full, key === 'model' ? 'models' : key)) delete taken[key];
  return taken;
}

function print(result: ExperimentResult): void {
  const { title } = experiments[result.experiment as ExperimentName];
  const warnings = warningsOf(result).map((text) => `Warning: ${text}`);
  const head = [title, describeRun(result), ...warnings].join('\n');
  process.stdout.write(`${head}\n\n${tablesOf(result).map(toText).join('\n')}\n`);
}

async function run(job: ProfileCommand, signal: AbortSignal): Promise<number> {
  for (const name of job.names) resolveSettings(name, optionsOf(name, job)); // before hours of work
  if (job.report !== undefined) await ensureRenderer();
  const kept = job.resume && existsSync(job.json!) ? await readResults(job.json!) : [];
  const results = new Map(kept.map((result) => [result.experiment, result]));
  const trace = job.trace === undefined ? null : new TraceFile();
  const save = async () => {
    if (job.json !== undefined) await writeResults(job.json, [...results.values()]);
  };
  const finish = async () => {
    await save();
    const all = [...results.values()];
    if (job.csv !== undefined) await writing(job.csv, toCsv(all));
    if (trace) await trace.write(job.trace!);
    if (job.report !== undefined) await writeReport(job.report, all);
  };
  const bar = progressBar('%', !job.quiet);
  const started = performance.now();
  try {
    for (const name of job.names) {
      const result = await profile(name, {
        ...optionsOf(name, job),
        signal,
        previous: results.get(name),
        onTrace: trace ? (track, operations) => trace.add(track, operations) : undefined,
        onProgress: ({ group, done, total }) => bar.update(`${name}: ${group}`, (100 * done) / total, 100),
        onResult: async (partial) => {
          results.set(name, partial);
          await save();
        },
      });
      bar.stop();
      print(result);
    }
    await finish();
    process.stdout.write(`It took ${duration(1000 * (performance.now() - started))}.\n`);
    return 0;
  } catch (error) {
    bar.stop();
    if (signal.aborted) {
      await finish();
      const rows = [...results.values()].reduce((sum, result) => sum + result.rows.length, 0);
      const where =
        job.json === undefined
          ? 'Give a file with --json to keep them'
          : `They are in ${job.json}; continue with --resume`;
      if (rows > 0) console.error(`onehead: Interrupted; ${rows} rows were measured. ${where}.`);
    }
    throw error;
  }
}

async function writing(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text);
  } catch (cause) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `Cannot write ${file}: ${(cause as Error).message}; name another file.`,
      {
        cause,
      },
    );
  }
}

async function compareCommand(args: string[]): Promise<number> {
  const options = { all: { type: 'boolean' }, json: { type: 'boolean' } } as const;
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options });
  if (positionals.length !== 2) throw new UsageError('Give two files of results to compare.');
  const [a, b] = [await readResults(positionals[0]), await readResults(positionals[1])];
  const result = compare(a, b);
  if (result.rows.length === 0) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `${positionals.join(' and ')} have no row in common; compare runs of the same experiment.`,
    );
  }
  if (values.json) {
    process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
    return 0;
  }
  for (const difference of differences(a, b)) process.stdout.write(`Note: ${difference}\n`);
  process.stdout.write(toText(comparisonTable(result, values.all)));
  return 0;
}

async function reportCommand(args: string[]): Promise<number> {
  const { positionals } = parseArgs({ args, allowPositionals: true, options: {} });
  if (positionals.length !== 2) throw new UsageError('Give a file of results and a folder for the report.');
  const files = await writeReport(positionals[1], await readResults(positionals[0]));
  process.stdout.write(`${files.join('\n')}\n`);
  return 0;
}

export async function profileCommand(args: string[], signal: AbortSignal): Promise<number> {
  if (args[0] === 'compare') return compareCommand(args.slice(1));
  if (args[0] === 'report') return reportCommand(args.slice(1));
  return run(parse(args), signal);
}
