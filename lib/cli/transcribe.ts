/** `onehead transcribe`: files in, text in one or more formats out. */
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { Channels } from '../audio/channels.js';
import { OneheadError } from '../errors.js';
import { type FormatName, type FormatOptions, formats, textLine } from '../formats/index.js';
import type { Clip, TranscribeProgress, Transcription } from '../whisper/transcription/types.js';
import { Whisper } from '../whisper/whisper.js';
import { decodingHelp } from './decoding-flags.js';
import { type ModelChoice, modelChoice, modelFlags, modelHelp } from './load-flags.js';
import { type Progress, progressBar } from './progress.js';
import { oneOf, positiveInteger, UsageError, warningPrinter } from './usage.js';

export const transcribeHelp = `onehead transcribe FILE... | -        speech to text; - reads standard input

${modelHelp}
  --format FORMAT,...    text, json, verbose_json, srt, vtt, tsv, csv, lrc, ass (default: text)
  --max-line-width N     for srt, vtt, lrc and ass: characters of a line; --max-line-count N: lines at once
  --max-words-per-line N; --count-wide counts wide characters, such as Chinese ones, as two of a line
  --highlight-words      marks each word while it is said
  --clips FROM-TO,...    only these seconds of the recording are heard, 0-10.5,30- for example; times stay the recording's
  --channels LIST        mix (the default), numbers such as 0,2 from 0 on, or separate: each by itself, as a call has a speaker on each
  --channel-names NAME,...
                         the speakers of separate channels, from channel 0 on
  --stream               print each segment as soon as it is ready, a microphone's for example: arecord -t wav | onehead transcribe - --stream
  --output-dir DIR       write NAME.EXTENSION files there instead of printing
  --quiet                no progress bar

${decodingHelp}

With several files the results follow one another in the order given, without their names: use --output-dir to keep them
apart. A file that fails is reported and the others go on; the exit status is then 1. Warnings are lines on standard error; where
a part of a recording could not be read, its other words are printed all the same and the exit status is 3.
`;

interface Job extends ModelChoice {
  files: string[];
  formats: FormatName[];
  formatOptions: FormatOptions;
  outputDirectory?: string;
  stream: boolean;
  quiet: boolean;
}

/** '0-10,30-' as clips; whether they make sense is checked where they are used. */
function clipsOf(list: string | undefined): Clip[] | undefined {
  return list?.split(',').map((clip) => {
    const [, start, end] = /^\s*(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)?\s*$/.exec(clip) ?? [];
    if (start === undefined) {
      throw new UsageError(`Expected --clips to be seconds such as 0-10,30- but received '${clip.slice(0, 100)}'.`);
    }
    return { start: Number(start), end: end === undefined ? undefined : Number(end) };
  });
}

function channelsOf(list: string | undefined): Channels | undefined {
  if (list === undefined || list === 'mix' || list === 'separate') return list;
  if (!/^\d+(,\d+)*$/.test(list)) {
    throw new UsageError(
      `Expected --channels to be mix, separate or numbers such as 0,2 but received '${list.slice(0, 100)}'.`,
    );
  }
  return list.split(',').map(Number);
}

function parse(args: string[]): Job {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...modelFlags,
      format: { type: 'string', multiple: true },
      'output-dir': { type: 'string' },
      stream: { type: 'boolean', default: false },
      quiet: { type: 'boolean', default: false },
      clips: { type: 'string' },
      channels: { type: 'string' },
      'channel-names': { type: 'string' },
      'max-line-width': { type: 'string' },
      'max-line-count': { type: 'string' },
      'max-words-per-line': { type: 'string' },
      'highlight-words': { type: 'boolean' },
      'count-wide': { type: 'boolean' },
    },
  });
  if (positionals.length === 0) throw new UsageError('Name at least one audio file, or - for standard input.');
  const names = Object.keys(formats) as FormatName[];
  const chosen = (values.format ?? ['text'])
    .flatMap((list) => list.split(','))
    .map((name) => oneOf('--format', name, names));
  if (chosen.length > 1 && values['output-dir'] === undefined) {
    throw new UsageError('Several formats go to files: name a folder with --output-dir.');
  }
  if (values.stream && (chosen.some((name) => name !== 'text') || values['output-dir'] !== undefined)) {
    throw new UsageError('--stream prints text; leave out --format and --output-dir.');
  }
  if (positionals.filter((file) => file === '-').length > 1) {
    throw new UsageError('Standard input (-) can be read only once; name it once.');
  }
  const choice = modelChoice(values);
  choice.transcribe.clips = clipsOf(values.clips);
  choice.transcribe.channels = channelsOf(values.channels);
  // Only words can be marked, so that they are wanted goes without saying.
  if (values['highlight-words']) choice.transcribe.wordTimestamps = true;
  return {
    files: positionals,
    formats: [...new Set(chosen)],
    formatOptions: {
      maxLineWidth: positiveInteger('--max-line-width', values['max-line-width']),
      maxLineCount: positiveInteger('--max-line-count', values['max-line-count']),
      maxWordsPerLine: positiveInteger('--max-words-per-line', values['max-words-per-line']),
      highlightWords: values['highlight-words'],
      countWide: values['count-wide'],
      channelNames: values['channel-names']?.split(','),
    },
    outputDirectory: values['output-dir'],
    stream: values.stream,
    quiet: values.quiet,
    ...choice,
  };
}

/** 'talk' for 'recordings/talk.mp3'. */
function stem(file: string): string {
  return file === '-' ? 'stdin' : basename(file, extname(file));
}

/** Where a file's result goes in one format. */
function targetOf(outputDirectory: string, file: string, format: FormatName): string {
  return join(outputDirectory, `${stem(file)}.${formats[format].extension}`);
}

/** Refuses what would write two results to one file, or a result over a recording. */
function checkTargets({ files, formats, outputDirectory }: Job): void {
  if (outputDirectory === undefined) return;
  const taken = new Map<string, string>();
  for (const file of files) {
    const other = taken.get(stem(file));
    if (other !== undefined) {
      throw new UsageError(
        `${other} and ${file} would both be written as ${stem(file)}; transcribe them into two folders.`,
      );
    }
    taken.set(stem(file), file);
    for (const format of formats) {
      if (resolve(targetOf(outputDirectory, file, format)) === resolve(file)) {
        throw new UsageError(`The result would be written over ${file} itself; choose another --output-dir.`);
      }
    }
  }
}

/** Runs something that writes; its failure becomes one sentence. */
async function writing<T>(target: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (cause) {
    const { message } = cause as Error;
    throw new OneheadError('INVALID_ARGUMENT', `Cannot write ${target}: ${message}; choose another --output-dir.`, {
      cause,
    });
  }
}

async function deliver(job: Job, file: string, transcription: Transcription): Promise<void> {
  for (const name of job.formats) {
    const text = formats[name].write(transcription, job.formatOptions);
    if (job.outputDirectory === undefined) {
      process.stdout.write(text);
      continue;
    }
    const target = targetOf(job.outputDirectory, file, name);
    await writing(target, () => writeFile(target, text));
  }
}

/** Gives the exit status. */
export async function transcribeCommand(args: string[], signal: AbortSignal): Promise<number> {
  const job = parse(args);
  checkTargets(job);
  if (job.files.includes('-') && process.stdin.isTTY) {
    throw new UsageError(
      'Standard input is a terminal; pipe a recording into it, as in `onehead transcribe - < FILE`.',
    );
  }
  const { outputDirectory } = job;
  // Before the work, so that hours of it are not lost to a wrong folder.
  if (outputDirectory !== undefined) await writing(outputDirectory, () => mkdir(outputDirectory, { recursive: true }));
  const mebibytes = (bytes: number) => bytes / 2 ** 20;
  let bar: Progress = progressBar('MiB', !job.quiet);
  const whisper = await Whisper.load(job.model, {
    ...job.load,
    signal,
    onDownload: ({ file, loaded, total }) =>
      bar.update(file, mebibytes(loaded), total === null ? null : mebibytes(total)),
  }).finally(() => bar.stop());
  const printer = warningPrinter();
  let failed = false;
  try {
    for (const file of job.files) {
      bar = progressBar('s', !job.quiet);
      try {
        const onWarning = (warning: string, incomplete: boolean) => {
          bar.stop();
          printer.onWarning(warning, incomplete);
        };
        const audio = file === '-' ? process.stdin : file;
        if (job.stream) {
          for await (const segment of whisper.stream(audio, { ...job.transcribe, signal, onWarning })) {
            process.stdout.write(textLine(segment, job.formatOptions));
          }
          continue;
        }
        const onProgress = ({ processed, total }: TranscribeProgress) => bar.update(stem(file), processed, total);
        const transcription = await whisper
          .transcribe(audio, { ...job.transcribe, signal, onProgress, onWarning })
          .finally(() => bar.stop());
        await deliver(job, file, transcription);
      } catch (error) {
        if (!(error instanceof OneheadError) || job.files.length === 1) throw error;
        console.error(`onehead: ${error.message}`);
        failed = true;
      } finally {
        // A pipe that goes on must not keep the command waiting.
        if (file === '-') process.stdin.destroy();
      }
    }
  } finally {
    whisper.dispose();
  }
  return failed ? 1 : printer.exitStatus();
}
