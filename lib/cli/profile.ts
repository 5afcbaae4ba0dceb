/** `onehead profile`: runs experiments on this machine, writes reports, and compares results. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { OneheadError } from '../errors.js';
import { type Checked, check } from '../options/options.js';
import { compare, comparisonTable, differences } from '../profiler/compare.js';
import { type ExperimentName, experimentNames, experiments, settingsOf } from '../profiler/experiments/index.js';
import { type CheckedProfileOptions, isSetting, profileOptions } from '../profiler/experiments/options.js';
import { type ExperimentResult, readResults, toCsv, writeResults } from '../profiler/measuring/result.js';
import { TraceFile } from '../profiler/measuring/trace.js';
import { describeRun, duration, toText } from '../profiler/report/figures.js';
import { warningsOf } from '../profiler/report/findings.js';
import { ensureRenderer } from '../profiler/report/render.js';
import { checkProfile, profile } from '../profiler/run.js';
import { tablesOf, writeReport } from '../profiler/write-report.js';
import { writeNamed } from '../whole-file.js';
import { prepareArguments, readArguments } from './arguments.js';
import { profileCommandOptions } from './command-options.js';
import { flagsHelp, flagsOf, optionsFrom } from './flags.js';
import { nameFlagsOf } from './messages.js';
import { progressBar } from './progress.js';
import { UsageError } from './usage.js';
import { checkWritable, checkWritableFolder } from './writable.js';

const settingFlags = flagsOf(profileOptions);
const commandFlags = flagsOf(profileCommandOptions);

export const profileHelp =
  () => `onehead profile NAME                  measures this machine with one of these experiments:
${experimentNames.map((name) => `    ${name.padEnd(19)}${experiments[name].title}`).join('\n')}
    all                all experiments
onehead profile compare A B           shows which rows of two --json files differ by more than the
                                      noise; with --all shows all rows, with --json prints JSON
onehead profile report FILE DIR       writes the report of a --json file

${flagsHelp([...settingFlags, ...commandFlags])}
`;

interface ProfileCommand extends Checked<typeof profileCommandOptions> {
  names: readonly ExperimentName[];
  options: CheckedProfileOptions;
}

function parse(args: string[]): ProfileCommand {
  const { values, positionals } = readArguments('profile', args, [...settingFlags, ...commandFlags]);
  const known = [...experimentNames, 'all'];
  if (positionals.length !== 1) throw new UsageError(`Give one experiment: ${known.join(', ')}; or compare, report.`);
  if (!known.includes(positionals[0])) {
    throw new UsageError(`There is no experiment '${positionals[0]}'; the experiments are ${known.join(', ')}.`);
  }
  const options = check(profileOptions, optionsFrom(profileOptions, settingFlags, values));
  const command = check(profileCommandOptions, optionsFrom(profileCommandOptions, commandFlags, values));
  if (command.resume && command.json === undefined)
    throw new UsageError('--resume continues the results of a --json file; add --json, or leave it out.');
  if (options.model !== undefined && options.models !== undefined)
    throw new UsageError('Give --models or --model, not both.');
  const names = positionals[0] === 'all' ? experimentNames : [positionals[0] as ExperimentName];
  return { ...command, names, options };
}

/** Settings that an experiment does not have are ignored if all experiments run, and refused if a single one runs. */
function optionsOf(name: ExperimentName, { names, options }: ProfileCommand): CheckedProfileOptions {
  const available = settingsOf(name);
  if (names.length === 1) {
    const flagOf = (option: string) => `--${settingFlags.find((flag) => flag.option === option)?.name ?? option}`;
    const given = Object.entries(options).flatMap(([key, value]) => (value === undefined ? [] : [key]));
    const wrong = given.find((key) => isSetting(key) && !available.includes(key));
    if (wrong === undefined) return options;
    throw new UsageError(`The experiment ${name} has no ${flagOf(wrong)}; it has ${available.map(flagOf).join(', ')}.`);
  }
  const used = Object.entries(options).filter(([key]) => !isSetting(key) || available.includes(key));
  return Object.fromEntries(used) as CheckedProfileOptions;
}

function print(result: ExperimentResult): void {
  const { title } = experiments[result.experiment as ExperimentName];
  const warnings = warningsOf(result).map((text) => `Warning: ${text}`);
  const head = [title, describeRun(result), ...warnings].join('\n');
  process.stdout.write(`${head}\n\n${tablesOf(result).map(toText).join('\n')}\n`);
}

/** Throws UsageError or OneheadError if a result could not be written. */
async function checkOutputs({ json, csv, trace, report }: ProfileCommand): Promise<void> {
  const files = Object.entries({ json, csv, trace }).flatMap(([flag, file]) =>
    file === undefined ? [] : [{ flag: `--${flag}`, file }],
  );
  for (const [i, { flag, file }] of files.entries()) {
    const other = files.slice(0, i).find((earlier) => resolve(earlier.file) === resolve(file));
    if (other) throw new UsageError(`${other.flag} and ${flag} name the same file; name two.`);
    await checkWritable(file);
  }
  if (report === undefined) return;
  await ensureRenderer();
  await checkWritableFolder(report, 'report.html');
}

async function run(command: ProfileCommand, signal: AbortSignal): Promise<number> {
  const previous = command.resume && existsSync(command.json!) ? await readResults(command.json!) : [];
  const results = new Map(previous.map((result) => [result.experiment, result]));
  // Everything is checked first, so that no error comes after hours of work.
  await checkOutputs(command);
  for (const name of command.names) {
    await checkProfile(name, { ...optionsOf(name, command), signal, previous: results.get(name) });
  }
  const trace = command.trace === undefined ? null : new TraceFile();
  const save = async () => {
    if (command.json !== undefined) await writeResults(command.json, [...results.values()]);
  };
  const finish = async () => {
    await save();
    const all = [...results.values()];
    if (command.csv !== undefined) await writeNamed(command.csv, toCsv(all));
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

async function compareCommand(args: string[]): Promise<number> {
  const options = { all: { type: 'boolean' }, json: { type: 'boolean' } } as const;
  const { values, positionals } = parseArgs({
    args: prepareArguments('profile compare', args, options),
    allowPositionals: true,
    options,
  });
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
  const { positionals } = parseArgs({
    args: prepareArguments('profile report', args, {}),
    allowPositionals: true,
    options: {},
  });
  if (positionals.length !== 2) throw new UsageError('Give a file of results and a folder for the report.');
  const files = await writeReport(positionals[1], await readResults(positionals[0]));
  process.stdout.write(`${files.join('\n')}\n`);
  return 0;
}

export async function profileCommand(args: string[], signal: AbortSignal): Promise<number> {
  nameFlagsOf(profileOptions);
  if (args[0] === 'compare') return compareCommand(args.slice(1));
  if (args[0] === 'report') return reportCommand(args.slice(1));
  return run(parse(args), signal);
}
