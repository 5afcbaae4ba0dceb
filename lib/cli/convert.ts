/** `onehead convert`: writes a checkpoint as a Hugging Face folder, optionally pooled or quantized. */
import { parseArgs } from 'node:util';
import { shown } from '../errors.js';
import {
  type ConvertiblePart,
  convertCheckpoint,
  convertibleParts,
  poolingMethods,
} from '../whisper/checkpoint/convert.js';
import { formatNames } from '../whisper/checkpoint/description.js';
import { resolveModel } from '../whisper/checkpoint/hub.js';
import { prepareArguments } from './arguments.js';
import { oneOf, positiveInteger, UsageError } from './usage.js';

export const convertHelp = `onehead convert IN OUT                 converts a checkpoint of any form (folder, file or hub name)
                                      to a new Hugging Face folder with safetensors

  --kv-heads N           convert to N key/value heads: 1 is multi-query attention, the number of
                         query heads is multi-head attention
  --parts PART,...       attention layers to convert: cross, self, encoder (default: cross,self)
  --method METHOD        how heads are pooled: mean, first, or random for a new head (default: mean)
  --quantize TYPE        quantize weights to int8, like \`--dtype int8\` when a model is loaded: the
                         file is smaller and loads faster; weights that would lose too much
                         precision are not quantized

The converted model computes the same, except that quantization rounds its weights. If heads were
pooled, the model must be trained further before it is useful.
`;

const millions = (count: number) => `${(count / 1e6).toFixed(2)} M`;
const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(2)} MiB`;

export async function convertCommand(args: string[], signal: AbortSignal): Promise<number> {
  const config = {
    'kv-heads': { type: 'string' },
    parts: { type: 'string', default: 'cross,self' },
    method: { type: 'string', default: 'mean' },
    quantize: { type: 'string' },
  } as const;
  const { values, positionals } = parseArgs({
    args: prepareArguments('convert', args, config),
    allowPositionals: true,
    options: config,
  });
  if (positionals.length !== 2 || positionals.includes(''))
    throw new UsageError('Name a checkpoint to read and a new folder to write.');
  const keyValueHeads = positiveInteger('--kv-heads', values['kv-heads']);
  if (keyValueHeads === undefined && args.some((flag) => /^--(parts|method)\b/.test(flag))) {
    throw new UsageError('Give the new number of key/value heads, for example --kv-heads 1.');
  }
  const parts = values.parts.split(',').map((part): ConvertiblePart => oneOf('--parts', part, convertibleParts));
  const method = oneOf('--method', values.method, poolingMethods);
  const [from, to] = positionals;
  const quantize = values.quantize === undefined ? undefined : oneOf('--quantize', values.quantize, ['int8'] as const);
  if (quantize && keyValueHeads !== undefined) {
    throw new UsageError('Convert key/value heads first, and then use --quantize on the result.');
  }
  const options =
    keyValueHeads === undefined ? { signal, quantize } : { keyValueHeads, parts: [...new Set(parts)], method, signal };
  const { format, parameters, cacheBytes, sensitive } = await convertCheckpoint(
    await resolveModel(from, { signal }),
    to,
    options,
  );
  if (keyValueHeads === undefined) {
    process.stdout.write(`${to}: ${millions(parameters[1])} parameters, from ${formatNames[format]}\n`);
    if (quantize) {
      process.stdout.write(
        sensitive.length === 0
          ? 'The weights of matrix products are int8.\n'
          : `The weights of matrix products are int8, except ${sensitive.length} that would lose too much precision: ${shown(sensitive.join(', '), 150)}\n`,
      );
    }
    return 0;
  }
  process.stdout.write(
    `${to}: parameters ${parameters.map(millions).join(' to ')}, caches of a window ${cacheBytes.map(mebibytes).join(' to ')} in 16 bits\n`,
  );
  return 0;
}
