/** `onehead convert`: a checkpoint with other key/value heads. */
import { parseArgs } from 'node:util';
import {
  type ConvertiblePart,
  convertCheckpoint,
  convertibleParts,
  poolingMethods,
} from '../whisper/checkpoint/convert.js';
import { resolveModel } from '../whisper/checkpoint/hub.js';
import { strictly } from './arguments.js';
import { oneOf, positiveInteger, UsageError } from './usage.js';

export const convertHelp = `onehead convert --kv-heads N IN OUT   a checkpoint with N key/value heads, in a new folder

  --kv-heads N           1 is multi-query; as many as query heads makes an ordinary multi-head checkpoint again
  --parts PART,...       cross, self, encoder (default: cross,self)
  --method METHOD        how heads become one: mean, first, or random for a new one (default: mean)

The result needs training before it is of use, unless heads were only repeated.
`;

const millions = (count: number) => `${(count / 1e6).toFixed(2)} M`;
const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(2)} MiB`;

export async function convertCommand(args: string[], signal: AbortSignal): Promise<number> {
  const config = {
    'kv-heads': { type: 'string' },
    parts: { type: 'string', default: 'cross,self' },
    method: { type: 'string', default: 'mean' },
  } as const;
  const { values, positionals } = parseArgs({
    args: strictly('convert', args, config),
    allowPositionals: true,
    options: config,
  });
  if (positionals.length !== 2) throw new UsageError('Name a checkpoint to read and a new folder to write.');
  const keyValueHeads = positiveInteger('--kv-heads', values['kv-heads']);
  if (keyValueHeads === undefined) throw new UsageError('Say how many key/value heads there are to be: --kv-heads 1.');
  const parts = values.parts.split(',').map((part): ConvertiblePart => oneOf('--parts', part, convertibleParts));
  const method = oneOf('--method', values.method, poolingMethods);
  const [from, to] = positionals;
  const options = { keyValueHeads, parts: [...new Set(parts)], method, signal };
  const { parameters, cacheBytes } = await convertCheckpoint(await resolveModel(from, { signal }), to, options);
  process.stdout.write(
    `${to}: parameters ${parameters.map(millions).join(' to ')}, caches of a window ${cacheBytes.map(mebibytes).join(' to ')} in 16 bits\n`,
  );
  return 0;
}
