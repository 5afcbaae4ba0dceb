#!/usr/bin/env node
/** The command `onehead`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OneheadError, reasonOf } from '../errors.js';
import { unsupportedNode } from '../node-version.js';
import { packageRoot } from '../package-root.js';
import { convertCommand, convertHelp } from './convert.js';
import { doctorCommand, doctorHelp } from './doctor.js';
import { evaluateCommand, evaluateHelp } from './evaluate.js';
import { inspectCommand, inspectHelp } from './inspect.js';
import { printMessage } from './messages.js';
import { profileCommand, profileHelp } from './profile.js';
import { serveCommand, serveHelp } from './serve.js';
import { cancelCommand, cancelHelp, retryCommand, retryHelp, statusCommand, statusHelp } from './status.js';
import { submitCommand, submitHelp } from './submit.js';
import { transcribeCommand, transcribeHelp } from './transcribe.js';
import { UsageError } from './usage.js';
import { workerCommand, workerHelp } from './worker.js';

const commands = {
  transcribe: { run: transcribeCommand, help: transcribeHelp },
  serve: { run: serveCommand, help: serveHelp },
  submit: { run: submitCommand, help: submitHelp },
  worker: { run: workerCommand, help: workerHelp },
  status: { run: statusCommand, help: statusHelp },
  retry: { run: retryCommand, help: retryHelp },
  cancel: { run: cancelCommand, help: cancelHelp },
  evaluate: { run: evaluateCommand, help: evaluateHelp },
  profile: { run: profileCommand, help: profileHelp },
  convert: { run: convertCommand, help: convertHelp },
  inspect: { run: inspectCommand, help: inspectHelp },
  doctor: { run: doctorCommand, help: doctorHelp },
};

/** Long help texts are functions, so that they are only generated on demand. */
const helpOf = ({ help }: { help: string | (() => string) }) => (typeof help === 'string' ? help : help());

const help = () => `onehead: Whisper speech-to-text on its own attention kernels

${Object.values(commands).map(helpOf).join('\n')}
onehead --version                     the version
`;

/** The message of a usage error, including those of parseArgs; null for other errors. */
function usageMessage(error: unknown): string | null {
  if (error instanceof UsageError) return error.message;
  if (!String((error as NodeJS.ErrnoException)?.code).startsWith('ERR_PARSE_ARGS')) return null;
  // Node.js appends advice about arguments that begin with a dash, which is left out.
  return `${(error as Error).message.split(/\.?\s*\n|\.\s/)[0]} (see onehead --help).`;
}

const names = Object.keys(commands).join(', ');

async function main([name, ...args]: string[]): Promise<number> {
  if (name === undefined) throw new UsageError(`Name a command: ${names} (see onehead --help).`);
  if (name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(help());
    return 0;
  }
  if (name === '--version') {
    const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string };
    process.stdout.write(`${version}\n`);
    return 0;
  }
  if (!Object.hasOwn(commands, name)) {
    throw new UsageError(`There is no command '${name}'; the commands are ${names} (see onehead --help).`);
  }
  const command = commands[name as keyof typeof commands];
  // After -- there are only files.
  const flags = args.includes('--') ? args.slice(0, args.indexOf('--')) : args;
  if (flags.includes('--help') || flags.includes('-h')) {
    process.stdout.write(helpOf(command));
    return 0;
  }
  const problem = unsupportedNode();
  if (problem !== null && name !== 'doctor') throw new OneheadError('NOT_SUPPORTED', problem);
  const interrupt = new AbortController();
  process.once('SIGINT', () => interrupt.abort());
  try {
    return await command.run(args, interrupt.signal);
  } catch (error) {
    if (interrupt.signal.aborted) return 130;
    throw error;
  }
}

// If the reader of the output stops early (`| head`), that is not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  console.error(`onehead: Cannot write to standard output: ${reasonOf(error)}.`);
  process.exit(1);
});

main(process.argv.slice(2)).then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    const message = usageMessage(error);
    if (message !== null) {
      console.error(`onehead: ${message}`);
      process.exitCode = 2;
    } else {
      // A OneheadError has a message for users. Any other error is a bug, so its stack trace is printed.
      if (error instanceof OneheadError) printMessage(error.message, error.argument);
      else console.error(error);
      process.exitCode = 1;
    }
  },
);
