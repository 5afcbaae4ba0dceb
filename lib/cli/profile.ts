/** `onehead profile`: runs experiments on this machine, writes reports, and compares results. */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { OneheadError, reasonOf } from '../errors.js';
import { compare, comparisonTable, differences } from '../profiler/compare.js';
import { type ExperimentName, experimentNames, experiments } from '../profiler/experiments/index.js';
import { type ExperimentResult, readResults, toCsv, writeResults } from '../profiler/measuring/result.js';
import { TraceFile } from '../profiler/measuring/trace.js';
import { describeRun, duration, toText } from '../profiler/report/figures.js';
import { warningsOf } from '../profiler/report/findings.js';
import { ensureRenderer } from '../profiler/report/render.js';
import { type ProfileOptions, profile, resolveSettings } from '../profiler/run.js';
import { tablesOf, writeReport } from '../profiler/write-report.js';
import { prepareArguments } from './arguments.js';
import { progressBar } from './progress.js';
import { oneOf, positiveInteger, UsageError } from './usage.js';

export const profileHelp = `onehead profile NAME                  measures this machine with one of these experiments:
${experimentNames.map((name) => `    ${name.padEnd(19)}${experiments[name].title}`).join('\n')}
    all                all experiments
onehead profile compare A B           shows which rows of two --json files differ by more than the noise
onehead profile report FILE DIR       writes the report of a --json file

  --quick                small settings: all experiments take about two minutes on two idle cores
  --device DEVICE        cpu, cuda, cuda:N (default: auto, a usable GPU, else the CPU)
  --dtype TYPE           float32, float16 or bfloat16 (default: the checkpoint's, or the device's fastest)
  --threads N            CPU threads
  --models NAME,...      models with random weights: tiny, base, small, medium, large-v3, turbo
  --model DIR|NAME       a checkpoint with its own weights, instead of --models
  --batch N,...          batch sizes
  --tokens N             new tokens of each sequence
  --lengths N,...        sequence lengths (attention-types)
  --decoder-layers N,... numbers of decoder layers to keep
  --margins S,...        seconds of silence after a clip (audio-context)
  --audio DIR|LIST       recordings with texts, as for evaluate (audio-context)
  --repeats N            maximum number of measurements of each variant
  --seconds S            maximum time for each, after at least three measurements
  --json FILE            write results to FILE, after each group of cases
  --resume               continue with the results in the --json file
  --csv FILE             write the rows as a table
  --report DIR           write report.html, report.md and SVG plots
  --trace FILE           write the operations of each program, for ui.perfetto.dev
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

/** Parses a list of seconds. Throws UsageError. */
function secondsOf(option: string, value: string | undefined): number[] | undefined {
  const seconds = value?.split(',').map((text) => (text.trim() === '' ? Number.NaN : Number(text)));
  if (seconds?.every((number) => number >= 0) ?? true) return seconds;
  throw new UsageError(`Expected ${option} to be seconds of at least 0, separated by commas, but received '${value}'.`);
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
    args: prepareArguments('profile', args, config),
    allowPositionals: true,
    options: config,
  });
  const known = [...experimentNames, 'all'];
  if (positionals.length !== 1) throw new UsageError(`Give one experiment: ${known.join(', ')}; or compare, report.`);
  if (!known.includes(positionals[0])) {
    throw new UsageError(`There is no experiment '${positionals[0]}'; the experiments are ${known.join(', ')}.`);
  }
  if (values.resume && values.json === undefined)
    throw new UsageError('--resume continues the results of a --json file; add --json, or leave it out.');
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

/** Settings that an experiment does not have are ignored if all experiments run, and refused if a single one runs. */
function optionsOf(name: ExperimentName, { names, options }: ProfileCommand): ProfileOptions {
  if (names.length === 1) return options;
  const optional = ['models', 'model', 'batches', 'tokens', 'lengths', 'decoderLayers', 'margins', 'audio'] as const;
  const used = { ...options };
  for (const key of optional)
    if (!Object.hasOwn(experiments[name].full, key === 'model' ? 'models' : key)) delete used[key];
  return used;
}

function print(result: ExperimentResult): void {
  const { title } = experiments[result.experiment as ExperimentName];
  const warnings = warningsOf(result).map((text) => `Warning: ${text}`);
  const head = [title, describeRun(result), ...warnings].join('\n');
  process.stdout.write(`${head}\n\n${tablesOf(result).map(toText).join('\n')}\n`);
}

async function run(command: ProfileCommand, signal: AbortSignal): Promise<number> {
  // All settings are checked first, so that no error comes after hours of work.
  for (const name of command.names) resolveSettings(name, optionsOf(name, command));
  if (command.report !== undefined) await ensureRenderer();
  const previous = command.resume && existsSync(command.json!) ? await readResults(command.json!) : [];
  const results = new Map(previous.map((result) => [result.experiment, result]));
  const trace = command.trace === undefined ? null : new TraceFile();
  const save = async () => {
    if (command.json !== undefined) await writeResults(command.json, [...results.values()]);
  };
  const finish = async () => {
    await save();
    const all = [...results.values()];
    if (command.csv !== undefined) await writeText(command.csv, toCsv(all));
    if (trace) await trace.write(command.trace!);
    if (command.report !== undefined) await writeReport(command.report, all);
  };
  const bar = progressBar('%', !command.quiet);
  const started = performance.now();
  try {
    for (const name of command.names) {
      const result = await profile(name, {
        ...optionsOf(name, command),
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
      const advice =
        command.json === undefined
          ? 'To keep results, name a file with --json'
          : `They are in ${command.json}; continue with --resume`;
      if (rows > 0) console.error(`onehead: Interrupted; ${rows} rows were measured. ${advice}.`);
    }
    throw error;
  }
}

/** Writes a file. Throws OneheadError INVALID_ARGUMENT. */
async function writeText(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text);
  } catch (cause) {
    throw new OneheadError('INVALID_ARGUMENT', `Cannot write ${file}: ${reasonOf(cause)}; name another file.`, {
      cause,
    });
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
