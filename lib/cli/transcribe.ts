/** `onehead transcribe`: transcribes files to text in one or more formats. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import { clock } from '../audio/warnings.js';
import { OneheadError, reasonOf, shown } from '../errors.js';
import { type FormatName, type FormatOptions, formats, textLine } from '../formats/index.js';
import { formatOptions } from '../formats/options.js';
import { makeFolder } from '../make-folder.js';
import { check } from '../options/options.js';
import { TranscriptionError } from '../whisper/transcription/failure.js';
import { checkTranscribeOptions } from '../whisper/transcription/options.js';
import type { TranscribeProgress, Transcription } from '../whisper/transcription/types.js';
import { Whisper } from '../whisper/whisper.js';
import { writeWhole } from '../whole-file.js';
import { readArguments } from './arguments.js';
import { commandOptions } from './command-options.js';
import { flagsHelp, flagsOf, optionsFrom } from './flags.js';
import { printMessage, warningPrinter } from './messages.js';
import { type ModelChoice, modelChoice, modelFlags } from './model-choice.js';
import { type Progress, progressBar } from './progress.js';
import { UsageError } from './usage.js';

const flags = [...flagsOf(commandOptions), ...flagsOf(formatOptions), ...modelFlags];

export const transcribeHelp = () => `onehead transcribe FILE... | -        speech to text; - reads standard input

${flagsHelp(flags)}

The results of several files are printed in the order given, without the files' names; use
--output-dir to keep them apart. If a file fails, the error is reported, the others are still
transcribed, and the exit status is 1. Warnings, and text that was left out because there seems to
be no speech, are printed on standard error. If a part of a recording could not be read, or an error
interrupted it, the rest of its text is still printed and the exit status is 3.
`;

interface TranscribeCommand extends ModelChoice {
  files: string[];
  model?: string;
  formats: FormatName[];
  formatOptions: FormatOptions;
  outputDirectory?: string;
  stream: boolean;
  quiet: boolean;
}

function parse(args: string[]): TranscribeCommand {
  const { values, positionals } = readArguments('transcribe', args, flags);
  const command = check(commandOptions, optionsFrom(commandOptions, flagsOf(commandOptions), values));
  const { model, format, outputDir, stream, quiet } = command;
  if (positionals.length === 0) throw new UsageError('Give at least one audio file, or - for standard input.');
  if (format.length > 1 && outputDir === undefined) {
    throw new UsageError('Several formats need an output folder; set it with --output-dir.');
  }
  if (stream && (format.some((name) => name !== 'text') || outputDir !== undefined)) {
    throw new UsageError('--stream prints text; leave out --format and --output-dir.');
  }
  if (positionals.filter((file) => file === '-').length > 1) {
    throw new UsageError('Standard input (-) can be read only once; name it once.');
  }
  const choice = modelChoice(values);
  const formatting = optionsFrom(formatOptions, flagsOf(formatOptions), values);
  // Highlighting implies word timestamps, which it needs.
  if (formatting.highlightWords) choice.transcribe.wordTimestamps = true;
  return {
    ...choice,
    files: positionals,
    model,
    formats: [...new Set(format)],
    formatOptions: formatting,
    outputDirectory: outputDir,
    stream,
    quiet,
  };
}

/** The name of a file without folder and extension: 'talk' for 'recordings/talk.mp3'. */
function stem(file: string): string {
  return file === '-' ? 'stdin' : basename(file, extname(file));
}

/** The path of a file's result in one format. */
function targetOf(outputDirectory: string, file: string, format: FormatName): string {
  return join(outputDirectory, `${stem(file)}.${formats[format].extension}`);
}

/** Throws UsageError if two results would have the same path, or a result would overwrite a recording. */
function checkTargets({ files, formats, outputDirectory }: TranscribeCommand): void {
  if (outputDirectory === undefined) return;
  const taken = new Map<string, string>();
  for (const file of files) {
    const other = taken.get(stem(file));
    if (other !== undefined) {
      throw new UsageError(
        `${other} and ${file} would both be written as ${stem(file)}; transcribe them into separate folders.`,
      );
    }
    taken.set(stem(file), file);
    for (const format of formats) {
      if (resolve(targetOf(outputDirectory, file, format)) === resolve(file)) {
        throw new UsageError(`The result would overwrite ${file} itself; choose another --output-dir.`);
      }
    }
  }
}

const noSpace = new Set(['ENOSPC', 'EDQUOT']);

/** Calls `write`. Throws OneheadError INVALID_ARGUMENT if it fails. */
async function explainWriteErrors<T>(target: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (cause) {
    const advice = noSpace.has((cause as NodeJS.ErrnoException).code ?? '') ? 'make space, or choose' : 'choose';
    const message = `Cannot write ${shown(target)}: ${reasonOf(cause)}; ${advice} another --output-dir.`;
    throw new OneheadError('INVALID_ARGUMENT', message, { cause });
  }
}

/** Prints or writes the result of a file, in each format. */
async function writeResult(command: TranscribeCommand, file: string, transcription: Transcription): Promise<void> {
  for (const name of command.formats) {
    const text = formats[name].write(transcription, command.formatOptions);
    if (command.outputDirectory === undefined) {
      process.stdout.write(text);
      continue;
    }
    const target = targetOf(command.outputDirectory, file, name);
    await explainWriteErrors(target, () => writeWhole(target, text));
  }
}

/** Messages on text that was left out because there seems to be no speech: no loss, but users should know it. */
const omissionMessages = ({ omitted = [] }: Transcription): string[] =>
  omitted
    .filter(({ text }) => text.trim() !== '')
    .map(
      ({ start, end, text }) =>
        `There seems to be no speech from ${clock(start)} to ${clock(end)}, so "${shown(text.trim(), 100)}" was left out; --no-speech-rule openai and --no-drop-inventions keep it.`,
    );

/** Returns the exit status. */
export async function transcribeCommand(args: string[], signal: AbortSignal): Promise<number> {
  const command = parse(args);
  checkTargets(command);
  if (command.files.includes('-') && process.stdin.isTTY) {
    throw new UsageError(
      'Standard input is a terminal; pipe a recording into it, as in `onehead transcribe - < FILE`.',
    );
  }
  checkTranscribeOptions(command.transcribe);
  const { outputDirectory } = command;
  // The folder is created and checked first, so that an invalid one does not cost hours of work.
  if (outputDirectory !== undefined) {
    await explainWriteErrors(outputDirectory, async () => {
      makeFolder(outputDirectory);
      await access(outputDirectory, constants.W_OK);
    });
  }
  const mebibytes = (bytes: number) => bytes / 2 ** 20;
  let bar: Progress = progressBar('MiB', !command.quiet);
  const whisper = await Whisper.load(command.model, {
    ...command.load,
    signal,
    onDownload: ({ file, loaded, total }) =>
      bar.update(file, mebibytes(loaded), total === null ? null : mebibytes(total)),
  }).finally(() => bar.stop());
  const printer = warningPrinter();
  let failed = false;
  try {
    // What the model refuses, it would refuse for every file.
    await whisper.checkOptions(command.transcribe);
    for (const file of command.files) {
      bar = progressBar('s', !command.quiet);
      let printed = false;
      try {
        const onWarning = (warning: string, incomplete: boolean) => {
          bar.stop();
          printer.onWarning(warning, incomplete);
        };
        const audio = file === '-' ? process.stdin : file;
        if (command.stream) {
          for await (const segment of whisper.stream(audio, { ...command.transcribe, signal, onWarning })) {
            process.stdout.write(textLine(segment, command.formatOptions));
            printed = true;
          }
          continue;
        }
        const onProgress = ({ processed, total }: TranscribeProgress) => bar.update(stem(file), processed, total);
        const transcription = await whisper
          .transcribe(audio, { ...command.transcribe, signal, onProgress, onWarning })
          .finally(() => bar.stop());
        await writeResult(command, file, transcription);
        for (const message of omissionMessages(transcription)) console.error(`onehead: ${message}`);
      } catch (error) {
        if (!(error instanceof OneheadError)) throw error;
        if (error instanceof TranscriptionError) await writeResult(command, file, error.partial);
        if (printed || error instanceof TranscriptionError) {
          printer.onWarning(error.message, true);
          continue;
        }
        if (command.files.length === 1) throw error;
        printMessage(error.message, error.argument);
        failed = true;
      } finally {
        // An open pipe would keep the process alive.
        if (file === '-') process.stdin.destroy();
      }
    }
  } finally {
    whisper.dispose();
  }
  return failed ? 1 : printer.exitStatus();
}
