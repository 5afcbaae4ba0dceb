/** Whatever else ffmpeg can read, through a process of it that is kept from everything but the one recording. */
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, isAbsolute, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { OneheadError, reasonOf } from '../errors.js';
import { FfmpegLog, tracksOf } from './ffmpeg-log.js';
import type { AudioTrack, Container } from './tracks.js';
import type { Warn } from './warnings.js';
import { type DecodedChunk, decodeWav } from './wav.js';

/**
 * Containers that hold their sound themselves. Playlists and others that name further files or addresses (hls, concat,
 * dash, imf, sdp, image sequences, ...) are not among them: what a file says must not decide what is read. Neither are
 * devices, generators and music modules. Names that a build of ffmpeg does not know do no harm.
 */
const formats = [
  ...['aac', 'ac3', 'aiff', 'amr', 'amrnb', 'amrwb', 'ape', 'asf', 'asf_o', 'au', 'avi', 'caf', 'codec2'],
  ...['dsf', 'dss', 'dts', 'dtshd', 'dv', 'eac3', 'flac', 'flv', 'g722', 'g726', 'g726le', 'g729', 'gsm', 'gxf', 'iff'],
  ...['ilbc', 'ircam', 'loas', 'live_flv', 'matroska', 'mlp', 'mov', 'mp3', 'mpc', 'mpc8', 'mpeg', 'mpegts'],
  ...['mxf', 'nistsphere', 'nsv', 'nut', 'ogg', 'oma', 'paf', 'pva', 'pvf', 'qcp', 'rm', 'sbc', 'shn', 'smjpeg', 'sox'],
  ...['spdif', 'tak', 'truehd', 'tta', 'voc', 'vqf', 'w64', 'wav', 'webm', 'wtv', 'wv', 'wve', 'xwma'],
].join(',');

/** Limits of a process. */
export const ffmpegLimits = {
  /** Seconds without any output while it has input. */
  stall: 60,
  /** Seconds of computing: some thousand hours of common sound. */
  computing: 3600,
  /** Bytes of memory, the addresses of libraries among them. */
  memory: 2 ** 31,
};

export interface FfmpegOptions {
  /** The file, when it is one that ffmpeg can read by itself and go to places in. */
  path?: string;
  /** The audio track, from 0; ffmpeg's own choice where there is none. */
  track?: number | null;
  /** Takes the tracks that ffmpeg tells of. */
  tell?: (container: Container) => void;
  /** Seconds after which more is not wanted. */
  maxDuration?: number;
  limits?: typeof ffmpegLimits;
}

/**
 * The program's path, null where there is none. Relative places in PATH are left out: a working folder is not to be
 * trusted.
 */
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
 * The command and its arguments under limits of the system, where it has them: no files are written, no core is left.
 */
function limited(program: string, args: string[], limits: typeof ffmpegLimits): [string, string[]] {
  if (process.platform === 'win32') return [program, args];
  // A limit that the system does not know (macOS has none of memory) is passed over.
  const settings = [`-t ${limits.computing}`, `-v ${Math.ceil(limits.memory / 1024)}`, '-f 0', '-c 0'];
  const script = `${settings.map((one) => `ulimit ${one} 2>/dev/null`).join('; ')}; exec "$@"`;
  return ['/bin/sh', ['-c', script, 'sh', program, ...args]];
}

/**
 * Chunks of a process, which is ended by `expired` when none comes for a while although `busy` says that it has what it
 * needs.
 */
async function* watched(
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

/** The first arguments of every call: no protocol but that of the recording, and log lines marked by level. */
const inputArguments = (path: string | undefined): string[] => [
  ...['-v', 'level+info', '-hide_banner', '-nostats', '-nostdin', '-format_whitelist', formats],
  ...(path === undefined
    ? ['-protocol_whitelist', 'pipe', '-i', 'pipe:0']
    : ['-protocol_whitelist', 'file', '-i', `file:${resolve(path)}`]),
];

/** The audio tracks of a recording that ffmpeg knows; none where it or the recording does not say. */
export async function tracksWithFfmpeg(
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  path?: string,
): Promise<AudioTrack[]> {
  const program = await findFfmpeg();
  if (program === null) return [];
  // Without an output it tells of the input and ends.
  const child = spawn(...limited(program, inputArguments(path), ffmpegLimits), { stdio: ['pipe', 'ignore', 'pipe'] });
  const kill = () => void child.kill('SIGKILL');
  signal.addEventListener('abort', kill, { once: true });
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
    signal.removeEventListener('abort', kill);
  }
}

/**
 * Decodes with ffmpeg: the file `path`, else `bytes` on its standard input. `kind` names what was seen, for error
 * sentences. Throws OneheadError AUDIO_INVALID when ffmpeg is missing, cannot decode it or takes more than its limits;
 * the process ends with the generator or the signal.
 */
export async function* decodeWithFfmpeg(
  bytes: AsyncIterable<Uint8Array>,
  name: string,
  kind: string,
  signal: AbortSignal,
  warn: Warn,
  { path, track = null, tell, maxDuration = Number.POSITIVE_INFINITY, limits = ffmpegLimits }: FfmpegOptions = {},
): AsyncGenerator<DecodedChunk> {
  signal.throwIfAborted();
  const invalid = (sentence: string) => new OneheadError('AUDIO_INVALID', sentence);
  const program = await findFfmpeg();
  if (program === null) {
    throw invalid(
      `${name} is ${kind}, which needs ffmpeg to be read; install ffmpeg (such as \`apt-get install ffmpeg\`) or convert it to wav, flac, mp3, ogg or m4a.`,
    );
  }
  // WAV on the way out says rate and channels.
  const args = inputArguments(path);
  if (Number.isFinite(maxDuration)) args.push('-t', String(maxDuration + 1));
  if (track !== null) args.push('-map', `0:a:${track}`);
  args.push('-vn', '-sn', '-dn', '-c:a', 'pcm_f32le', '-f', 'wav', 'pipe:1');
  const child = spawn(...limited(program, args, limits), { stdio: ['pipe', 'pipe', 'pipe'] });
  const kill = () => void child.kill('SIGKILL');
  signal.addEventListener('abort', kill, { once: true });
  let stalled = false;
  child.on('error', () => {}); // reported below; a second one must not end the program
  const log = new FfmpegLog(child.stderr);
  const ended = new Promise<Error | null>((resolve) => {
    child.once('error', resolve);
    child.once('close', () => resolve(null));
  });
  // ffmpeg may stop reading before the end (a broken file, tags at the end); what it says of it counts, not the broken
  // pipe.
  const feeding =
    path === undefined ? pipeline(Readable.from(bytes), child.stdin).catch((error: unknown) => error) : null;
  if (path !== undefined) child.stdin.end();
  /** True if it has input, so that output can be expected. */
  const busy = () => path !== undefined || child.stdin.writableLength > 0 || child.stdin.writableEnded;
  const output = watched(child.stdout, limits.stall, busy, () => {
    stalled = true;
    kill();
  });
  let seconds = 0;
  try {
    for await (const chunk of decodeWav(output, name)) {
      if (seconds === 0 && tell) {
        await log.described;
        tell(log.container(track));
      }
      seconds += chunk.channels[0].length / chunk.sampleRate;
      yield chunk;
    }
    const error = await ended;
    signal.throwIfAborted();
    const fed = await feeding;
    if (fed instanceof OneheadError) throw fed;
    if (stalled || child.signalCode !== null) {
      const limit = stalled ? `gave nothing for ${limits.stall} seconds` : `was ended (${child.signalCode})`;
      throw invalid(`${name} (${kind}) cannot be decoded: ffmpeg ${limit}; convert it to wav, flac, mp3, ogg or m4a.`);
    }
    if (error || child.exitCode !== 0) {
      const said = error?.message ?? log.complaint;
      const reason = reasonOf(path === undefined ? said : said.replaceAll(`file:${resolve(path)}`, 'it'));
      if (track !== null && log.noSuchTrack) {
        throw new OneheadError('INVALID_ARGUMENT', `${name} has no audio track ${track}; give track a lower number.`, {
          argument: 'track',
        });
      }
      if (seconds === 0) {
        throw invalid(
          `${name} (${kind}) cannot be decoded: ffmpeg says "${reason}"; check that it is an audio file, and not a playlist.`,
        );
      }
      warn(`${name} could not be read to its end: ffmpeg says "${reason}".`, 'lost');
      return;
    }
    // ffmpeg calls it a success where it has skipped damage, or where the recording ends before it should.
    if (seconds === 0) throw invalid(`${name} (${kind}) contains no audio; record or export it again.`);
    const loss = log.loss(seconds, track, maxDuration);
    if (loss) warn(`${name} ${loss}`, 'lost');
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
    child.stdin.destroy();
    child.stdout.destroy();
  }
}
