/** `onehead serve`: serves models over HTTP with OpenAI's audio API. */
import { check } from '../options/options.js';
import { serve } from '../server/index.js';
import { listenOptions } from '../server/listen-options.js';
import { run } from '../server/run.js';
import { serverOptions } from '../server/service/options.js';
import { loadOptions } from '../whisper/model/types.js';
import { transcribeOptions } from '../whisper/transcription/options.js';
import { readArguments } from './arguments.js';
import { type Flag, flagsHelp, flagsOf, optionsFrom, type Values } from './flags.js';
import { modelChoice } from './model-choice.js';
import { refuseFlag, UsageError } from './usage.js';

/** Options of transcribe that requests set, or for which the server has its own limits. */
const excluded = [
  ...['language', 'task', 'prompt', 'prefix', 'hotwords', 'wordTimestamps', 'temperature', 'timeout', 'maxBytes'],
  ...[
    'maxDuration',
    'channels',
    'track',
    'clips',
    'timestamps',
    'topLogProbabilities',
    'tokenLogProbabilities',
    'languages',
    'carryPrompt',
    'hallucinationSilenceThreshold',
  ],
];

const flags: readonly Flag[] = [
  ...flagsOf(listenOptions),
  ...flagsOf(serverOptions),
  ...flagsOf(loadOptions),
  ...flagsOf(transcribeOptions).filter(({ option, within }) => !excluded.includes(within ?? option)),
];

export const serveHelp = () => `onehead serve [MODEL...]                  starts a server for OpenAI's clients

${flagsHelp(flags)}

MODEL is a folder or a hub name. Clients can use only these models; the first is the default. Every
flag can also be set as an environment variable: ONEHEAD_PORT=9000 for --port 9000,
ONEHEAD_REFUSE_UNKNOWN_FIELDS=true, and ONEHEAD_MODELS=MODEL,... for the models. Flags take
precedence over variables.
`;

const variableOf = (name: string) => `ONEHEAD_${name.replaceAll('-', '_').toUpperCase()}`;

/** Values from environment variables, for flags that are absent. Throws UsageError. */
function fromEnvironment(given: Values, environment: NodeJS.ProcessEnv): Values {
  const values: Values = {};
  for (const flag of flags) {
    const variable = variableOf(flag.name);
    const text = environment[variable];
    if (given[flag.name] !== undefined || text === undefined || text === '') continue;
    if (flag.placeholder !== '') values[flag.name] = text;
    else if (/^(true|1)$/i.test(text)) values[flag.name] = true;
    else if (!/^(false|0)$/i.test(text)) {
      refuseFlag(variable, 'true or false', text);
    }
    try {
      for (const group of [listenOptions, serverOptions, loadOptions, transcribeOptions]) {
        optionsFrom(group, [flag], values);
      }
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      throw new UsageError(error.message.replace(`--${flag.name}`, variable));
    }
  }
  return values;
}

/** Runs until the process is stopped. */
export async function serveCommand(args: string[]): Promise<never> {
  const { values: given, positionals } = readArguments('serve', args, flags);
  const values = { ...fromEnvironment(given, process.env), ...given };
  const models = positionals.length > 0 ? positionals : (process.env.ONEHEAD_MODELS ?? '').split(',').filter(Boolean);
  const { load, transcribe } = modelChoice(values);
  const server = { ...optionsFrom(serverOptions, flags, values), models, load, transcribe };
  const listen = optionsFrom(listenOptions, flags, values);
  return run(() => serve(server, listen), check(serverOptions, server).shutdownTimeout);
}
