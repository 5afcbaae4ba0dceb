/** `onehead inspect`: describes a checkpoint and its memory, or a recording. */
import { stat } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { type AudioDescription, describeAudio } from '../audio/inspect.js';
import { audioOptions } from '../audio/options.js';
import { clock } from '../audio/warnings.js';
import { shown } from '../errors.js';
import { type Checkpoint, readCheckpoint } from '../whisper/checkpoint/checkpoint.js';
import { formatNames } from '../whisper/checkpoint/description.js';
import { bundledModel, resolveModel } from '../whisper/checkpoint/hub.js';
import { isModelFile } from '../whisper/checkpoint/sources.js';
import { checkpointSizes } from '../whisper/checkpoint/weights.js';
import {
  type Capacity,
  cacheElementBytes,
  cpuCapacityFor,
  type MemoryPlan,
  memoryPlan,
  weightBytes,
} from '../whisper/model/plan.js';
import {
  type DataType,
  type Precision,
  type PrecisionOptions,
  precisionText,
  precisionWith,
  uniformPrecision,
} from '../whisper/model/precision.js';
import { loadOptions } from '../whisper/model/types.js';
import { wordHeads } from '../whisper/model/word-heads.js';
import { prepareArguments } from './arguments.js';
import { flagsOf, optionsFrom } from './flags.js';
import { UsageError } from './usage.js';

const trackFlag = flagsOf(audioOptions).filter(({ option }) => option === 'track');
const planFlags = flagsOf(loadOptions).filter(({ option }) =>
  ['windows', 'rows', 'dtype', 'precision'].includes(option),
);

export const inspectHelp = `onehead inspect [MODEL|FILE]          shows the sizes, heads and memory of a checkpoint (default:
                                      the bundled model), or the format and audio tracks of a
                                      recording

  --json                 print JSON
  --windows N, --rows N  plan the memory for these numbers of windows and rows (default: those of a
                         CPU)
  --dtype TYPE           plan the memory for one dtype: float32, float16, bfloat16 or int8
  --precision PART=TYPE,...  plan the memory for dtypes of single parts, as for transcribe
  --track N|LANGUAGE     mark the track of a recording that transcribe chooses with this option
`;

type PlanOptions = Partial<Capacity> & { dtype?: DataType | 'auto' | null; precision?: PrecisionOptions | null };

function describe(
  { directory, format, config, generation, preprocessor, tensors }: Checkpoint,
  { dtype, precision, ...counts }: PlanOptions,
) {
  const memory = (types: Precision) => {
    const sizes = checkpointSizes(config, cacheElementBytes(config, types));
    return {
      weights: weightBytes(config, types),
      selfCache: sizes.selfCacheBytes,
      crossCache: sizes.crossCacheBytes,
    };
  };
  const capacity = cpuCapacityFor(counts);
  const onlyType = dtype && dtype !== 'auto' ? dtype : undefined;
  const given = precision ? precisionWith(uniformPrecision(onlyType ?? 'bfloat16'), precision) : null;
  const names = onlyType ? [onlyType] : (['float32', 'bfloat16', 'int8'] as const);
  const types = new Map(given ? [[precisionText(given), given]] : names.map((name) => [name, uniformPrecision(name)]));
  const words = wordHeads(config, generation);
  const plan = Object.fromEntries([...types].map(([name, type]) => [name, memoryPlan(config, words, type, capacity)]));
  const { encoder, decoder, embedding, total } = checkpointSizes(config, 2);
  return {
    directory,
    format,
    width: config.width,
    encoder: config.encoder,
    decoder: config.decoder,
    mels: config.mels,
    windowSeconds: preprocessor.samples / preprocessor.sampleRate,
    vocabulary: config.vocabulary,
    languages: generation.multilingual ? [...generation.languages.keys()] : ['en'],
    storedAs: [...new Set([...tensors.values()].map(({ dtype }) => dtype))],
    parameters: { encoder, decoder, embedding, total },
    /** Bytes of the weights, and of the caches for one window. */
    memory: Object.fromEntries(
      (['float32', 'bfloat16', 'int8'] as const).map((name) => [name, memory(uniformPrecision(name))]),
    ),
    /** Bytes that loading allocates for each precision, without the temporaries of programs. */
    plan: { ...capacity, ...plan } as Capacity & Record<string, MemoryPlan>,
  };
}

const millions = (count: number): string => `${(count / 1e6).toFixed(2)} M`;
const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function print(facts: ReturnType<typeof describe>): string {
  const { encoder, decoder, parameters, memory } = facts;
  const { windows, rows: rowCount, ...plans } = facts.plan;
  const heads = (count: number, keyValueHeads: number) =>
    keyValueHeads === count ? `${count} heads` : `${count} heads, ${keyValueHeads} key/value heads`;
  const languages = facts.languages.length > 8 ? `${facts.languages.length} languages` : facts.languages.join(', ');
  const rows: [string, string][] = [
    ['model', facts.directory],
    ['format', formatNames[facts.format]],
    ['width', String(facts.width)],
    [
      'encoder',
      `${encoder.layers} layers, ${heads(encoder.heads, encoder.keyValueHeads)}, feed-forward ${encoder.feedForward}`,
    ],
    [
      'decoder',
      `${decoder.layers} layers, ${heads(decoder.heads, decoder.keyValueHeads)}, feed-forward ${decoder.feedForward}`,
    ],
    ['cross-attention', heads(decoder.heads, decoder.crossKeyValueHeads)],
    ['audio', `${facts.mels} mels, windows of ${facts.windowSeconds} s`],
    ['vocabulary', `${facts.vocabulary} tokens, ${languages}`],
    ['stored as', facts.storedAs.join(', ')],
    [
      'parameters',
      `${millions(parameters.total)} (encoder ${millions(parameters.encoder)}, decoder ${millions(parameters.decoder)}, of which embedding ${millions(parameters.embedding)})`,
    ],
    ...Object.entries(memory).map(([dtype, { weights, selfCache, crossCache }]): [string, string] => [
      `memory, ${dtype}`,
      `weights ${mebibytes(weights)}; a window's caches: self ${mebibytes(selfCache)}, cross ${mebibytes(crossCache)}`,
    ]),
    ...Object.entries(plans).map(([dtype, plan]): [string, string] => [
      `plan, ${dtype}`,
      `${mebibytes(plan!.total)} for ${windows} windows and ${rowCount} rows: weights ${mebibytes(plan!.weights)}, cross ` +
        `caches ${mebibytes(plan!.crossCache)}, self caches ${mebibytes(plan!.selfCache)}, word alignment ` +
        `${mebibytes(plan!.alignment)}, state ${mebibytes(plan!.state)}`,
    ]),
  ];
  return rows.map(([name, value]) => `${name.padEnd(18)}${value}\n`).join('');
}

function printAudio(file: string, { format, duration, start, tracks }: AudioDescription): string {
  const rows: [string, string][] = [
    ['file', file],
    ['format', format],
  ];
  if (duration !== null) rows.push(['duration', clock(duration)]);
  if (start > 0) rows.push(['starts at', clock(start)]);
  for (const track of tracks) {
    const facts = [
      track.codec,
      track.channels === null ? null : `${track.channels} channel${track.channels === 1 ? '' : 's'}`,
      track.sampleRate === null ? null : `${track.sampleRate} Hz`,
      track.language,
      track.title === null ? null : shown(track.title, 60),
      track.default ? 'default' : null,
    ].filter((fact) => fact !== null);
    rows.push([`${track.chosen ? '* ' : ''}track ${track.index}`, facts.join(', ')]);
  }
  return rows.map(([name, value]) => `${name.padEnd(18)}${value}\n`).join('');
}

export async function inspectCommand(args: string[], signal: AbortSignal): Promise<number> {
  const config = {
    json: { type: 'boolean' },
    track: { type: 'string' },
    windows: { type: 'string' },
    rows: { type: 'string' },
    dtype: { type: 'string' },
    precision: { type: 'string' },
  } as const;
  const { values, positionals } = parseArgs({
    args: prepareArguments('inspect', args, config),
    allowPositionals: true,
    options: config,
  });
  if (positionals.length > 1) throw new UsageError('Give one model or one recording.');
  const [name] = positionals;
  if (name !== undefined && (await stat(name).catch(() => null))?.isFile() && !(await isModelFile(name))) {
    const plan = planFlags.find(({ name }) => name in values);
    if (plan) throw new UsageError(`--${plan.name} is for models; name a checkpoint, or leave it out.`);
    const { track } = optionsFrom(audioOptions, trackFlag, values);
    const audio = await describeAudio(name, signal, track ?? null);
    process.stdout.write(
      values.json ? `${JSON.stringify({ file: name, ...audio }, null, 2)}\n` : printAudio(name, audio),
    );
    return 0;
  }
  if (values.track !== undefined) throw new UsageError('--track is for recordings; name an audio file.');
  const directory = positionals[0] === undefined ? bundledModel() : await resolveModel(positionals[0], { signal });
  const { windows, rows, dtype, precision } = optionsFrom(loadOptions, planFlags, values);
  const counts = { ...(windows && { windows }), ...(rows && { rows }) };
  const facts = describe(await readCheckpoint(directory), { ...counts, dtype, precision });
  process.stdout.write(values.json ? `${JSON.stringify(facts, null, 2)}\n` : print(facts));
  return 0;
}
