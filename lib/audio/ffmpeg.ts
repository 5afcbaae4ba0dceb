/** Decodes all other formats with ffmpeg, in a process that can read nothing but the recording. */
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, isAbsolute, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { OneheadError, reasonOf } from '../errors.js';
import { onAbort } from '../signals.js';
import { FfmpegLog, tracksOf } from './ffmpeg-log.js';
import type { AudioTrack, Container } from './tracks.js';
import type { Warn } from './warnings.js';
import { type DecodedChunk, decodeWav } from './wav.js';

/**
 * Self-contained formats. Playlists and other formats that name further files or addresses (hls, concat, dash, imf,
 * sdp, image sequences, ...) are excluded: the contents of a file must not decide what else is read. Devices,
 * generators and music modules are excluded too. Names that a build of ffmpeg does not know are ignored.
 */
const formats = [
  ...['aac', 'ac3', 'aiff', 'amr', 'amrnb', 'amrwb', 'ape', 'asf', 'asf_o', 'au', 'avi', 'caf', 'codec2'],
  ...['dsf', 'dss', 'dts', 'dtshd', 'dv', 'eac3', 'flac', 'flv', 'g722', 'g726', 'g726le', 'g729', 'gsm', 'gxf', 'iff'],
  ...['ilbc', 'ircam', 'loas', 'live_flv', 'matroska', 'mlp', 'mov', 'mp3', 'mpc', 'mpc8', 'mpeg', 'mpegts'],
  ...['mxf', 'nistsphere', 'nsv', 'nut', 'ogg', 'oma', 'paf', 'pva', 'pvf', 'qcp', 'rm', 'sbc', 'shn', 'smjpeg', 'sox'],
  ...['spdif', 'tak', 'truehd', 'tta', 'voc', 'vqf', 'w64', 'wav', 'webm', 'wtv', 'wv', 'wve', 'xwma'],
].join(',');

/** Limits of the process. */
export const ffmpegLimits = {
  /** Seconds without any output while it has input. */
  stall: 60,
  /** Seconds of CPU time: enough for some thousand hours of usual audio. */
  computing: 3600,
  /** Bytes of address space, including libraries. */
  memory: 2 ** 31,
};

export interface FfmpegOptions {
  /** The file, if ffmpeg can open it and seek in it. */
  path?: string;
  /** Index of the audio track; null for ffmpeg's default. */
  track?: number | null;
  /** Called with the tracks that ffmpeg reports. */
  onContainer?: (container: Container) => void;
  /** Seconds after which decoding may stop. */
  maxDuration?: number;
  limits?: typeof ffmpegLimits;
}

/** The program's path, or null. Relative entries of PATH are ignored: the working directory is not trusted. */
export async function findFfmpeg(): Promise<string | null> {
  const name = process.platform === 'win32' ? 'ffmpeg.exe' : 'ffmpeg';
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    if (!isAbsolute(folder)) continue;
    const program = join(folder, name);
    const usable = await access(program, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return program;
  }
  return null;
}

/**
 * The command and its arguments under the system's resource limits, if there are any. It can write neither files nor
 * cores.
 */
function limited(program: string, args: string[], limits: typeof ffmpegLimits): [string, string[]] {
  if (process.platform === 'win32') return [program, args];
  // A limit that the system does not support (macOS has none for memory) is ignored.
  const settings = [`-t ${limits.computing}`, `-v ${Math.ceil(limits.memory / 1024)}`, '-f 0', '-c 0'];
  const script = `${settings.map((one) => `ulimit ${one} 2>/dev/null`).join('; ')}; exec "$@"`;
  return ['/bin/sh', ['-c', script, 'sh', program, ...args]];
}

/**
 * Chunks of a process. Calls `expired` if none arrives for `seconds` although `busy` reports that the process has
 * input.
 */
async function* withStallTimer(
  output: AsyncIterable<Uint8Array>,
  seconds: number,
  busy: () => boolean,
  expired: () => void,
): AsyncGenerator<Uint8Array> {
  const iterator = output[Symbol.asyncIterator]();
  try {
    for (;;) {
      let ticks = 0;
      const timer = setInterval(() => {
        ticks = busy() ? ticks + 1 : 0;
        if (ticks >= 10) expired();
      }, seconds * 100);
      const { value, done } = await iterator.next().finally(() => clearInterval(timer));
      if (done) return;
      yield value;
    }
  } finally {
    await iterator.return?.();
  }
}

/** The first arguments of every call: no protocol except for the recording, and log lines marked with their level. */
const inputArguments = (path: string | undefined): string[] => [
  ...['-v', 'level+info', '-hide_banner', '-nostats', '-nostdin', '-format_whitelist', formats],
  ...(path === undefined
    ? ['-protocol_whitelist', 'pipe', '-i', 'pipe:0']
    : ['-protocol_whitelist', 'file', '-i', `file:${resolve(path)}`]),
];

/** The audio tracks that ffmpeg finds in a recording; none if ffmpeg is missing or fails. */
export async function tracksWithFfmpeg(
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  path?: string,
): Promise<AudioTrack[]> {
  const program = await findFfmpeg();
  if (program === null) return [];
  // Without an output, ffmpeg describes the input and exits.
  const child = spawn(...limited(program, inputArguments(path), ffmpegLimits), { stdio: ['pipe', 'ignore', 'pipe'] });
  const kill = () => void child.kill('SIGKILL');
  const stopListening = onAbort(signal, kill);
  const timer = setTimeout(kill, ffmpegLimits.stall * 1000);
  try {
    let text = '';
    child.stderr.on('data', (chunk: Buffer) => {
      if (text.length < 1 << 20) text += chunk.toString();
    });
    child.on('error', () => {});
    if (path === undefined) pipeline(Readable.from(bytes), child.stdin).catch(() => {});
    else child.stdin.end();
    await new Promise((resolve) => child.once('close', resolve));
    return tracksOf(text);
  } finally {
    clearTimeout(timer);
    stopListening();
  }
}

/**
 * Decodes with ffmpeg: the file `path`, or `bytes` through its standard input. `kind` is the detected format, for error
 * messages. Throws OneheadError AUDIO_INVALID if ffmpeg is missing, cannot decode the recording or exceeds its limits.
 * The process ends with the generator or the signal.
 */
export async function* decodeWithFfmpeg(
  bytes: AsyncIterable<Uint8Array>,
  name: string,
  kind: string,
  signal: AbortSignal,
  warn: Warn,
  {
    path,
    track = null,
    onContainer,
    maxDuration = Number.POSITIVE_INFINITY,
    limits = ffmpegLimits,
  }: FfmpegOptions = {},
): AsyncGenerator<DecodedChunk> {
  signal.throwIfAborted();
  const invalid = (sentence: string) => new OneheadError('AUDIO_INVALID', sentence);
  const program = await findFfmpeg();
  if (program === null) {
    throw invalid(
      `${name} is ${kind}, which only ffmpeg can read; install ffmpeg (such as \`apt-get install ffmpeg\`) or convert it to wav, flac, mp3, ogg or m4a.`,
    );
  }
  // The WAV header of the output has rate and channels.
  const args = inputArguments(path);
  if (Number.isFinite(maxDuration)) args.push('-t', String(maxDuration + 1));
  if (track !== null) args.push('-map', `0:a:${track}`);
  args.push('-vn', '-sn', '-dn', '-c:a', 'pcm_f32le', '-f', 'wav', 'pipe:1');
  const child = spawn(...limited(program, args, limits), { stdio: ['pipe', 'pipe', 'pipe'] });
  const kill = () => void child.kill('SIGKILL');
  const stopListening = onAbort(signal, kill);
  let stalled = false;
  child.on('error', () => {}); // reported below; without a listener, a second error would crash the process
  const log = new FfmpegLog(child.stderr);
  const ended = new Promise<Error | null>((resolve) => {
    child.once('error', resolve);
    child.once('close', () => resolve(null));
  });
  // ffmpeg may stop reading before the end (a damaged file, tags at the end). Its own message counts, not the broken
  // pipe.
  const feeding =
    path === undefined ? pipeline(Readable.from(bytes), child.stdin).catch((error: unknown) => error) : null;
  if (path !== undefined) child.stdin.end();
  /** True while ffmpeg has input, so output can be expected. */
  const busy = () => path !== undefined || child.stdin.writableLength > 0 || child.stdin.writableEnded;
  const output = withStallTimer(child.stdout, limits.stall, busy, () => {
    stalled = true;
    kill();
  });
  let seconds = 0;
  try {
    for await (const chunk of decodeWav(output, name)) {
      if (seconds === 0 && onContainer) {
        await log.described;
        onContainer(log.container(track));
      }
      seconds += chunk.channels[0].length / chunk.sampleRate;
      yield chunk;
    }
    const error = await ended;
    signal.throwIfAborted();
    const fed = await feeding;
    if (fed instanceof OneheadError) throw fed;
    if (stalled || child.signalCode !== null) {
      const limit = stalled ? `wrote nothing for ${limits.stall} seconds` : `was ended (${child.signalCode})`;
      throw invalid(`${name} (${kind}) cannot be decoded: ffmpeg ${limit}; convert it to wav, flac, mp3, ogg or m4a.`);
    }
    if (error || child.exitCode !== 0) {
      const complaint = error?.message ?? log.complaint;
      const reason = reasonOf(path === undefined ? complaint : complaint.replaceAll(`file:${resolve(path)}`, 'it'));
      if (track !== null && log.noSuchTrack) {
        throw new OneheadError('INVALID_ARGUMENT', `${name} has no audio track ${track}; give track a lower number.`, {
          argument: 'track',
        });
      }
      if (seconds === 0) {
        throw invalid(
          `${name} (${kind}) cannot be decoded: ffmpeg reports "${reason}"; check that it is an audio file, and not a playlist.`,
        );
      }
      warn(`${name} could not be read to its end: ffmpeg reports "${reason}".`, 'lost');
      return;
    }
    // ffmpeg exits with 0 even if it skipped damage, or if the recording ends too early.
    if (seconds === 0) throw invalid(`${name} (${kind}) contains no audio; record or export it again.`);
    const loss = log.loss(seconds, track, maxDuration);
    if (loss) warn(`${name} ${loss}`, 'lost');
  } finally {
    stopListening();
    kill();
    child.stdin.destroy();
    child.stdout.destroy();
  }
}
