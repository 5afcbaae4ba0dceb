/** Whatever else ffmpeg can read, through a process of it. */
import { spawn } from 'node:child_process';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { OneheadError } from '../errors.js';
import { type DecodedChunk, decodeWav } from './wav.js';

/**
 * Decodes with ffmpeg: `path` when it can read the file by itself (and go to places in it), else `bytes` on its standard input. `kind`
 * names what was seen, for error sentences. Throws OneheadError AUDIO_INVALID when ffmpeg is missing or cannot decode it; the process
 * ends with the generator or the signal.
 */
export async function* decodeWithFfmpeg(
  bytes: AsyncIterable<Uint8Array>,
  name: string,
  kind: string,
  signal: AbortSignal,
  path?: string,
): AsyncGenerator<DecodedChunk> {
  signal.throwIfAborted();
  // Only local bytes: a playlist inside a file must not make ffmpeg fetch addresses. WAV on the way out says rate and channels.
  const input = path === undefined ? 'pipe:0' : `file:${path}`;
  const options = ['-v', 'error', '-nostdin', '-protocol_whitelist', 'file,pipe', '-i', input];
  const child = spawn('ffmpeg', [...options, '-map', '0:a:0', '-c:a', 'pcm_f32le', '-f', 'wav', 'pipe:1'], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const kill = () => void child.kill('SIGKILL');
  signal.addEventListener('abort', kill, { once: true });
  let complaint = '';
  child.on('error', () => {}); // told below; a second one must not end the program
  child.stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-2000);
  });
  const ended = new Promise<NodeJS.ErrnoException | null>((resolve) => {
    child.once('error', resolve);
    child.once('close', () => resolve(null));
  });
  // ffmpeg may stop reading before the end (a broken file, tags at the end); what it says of it counts, not the broken pipe.
  const feeding =
    path === undefined ? pipeline(Readable.from(bytes), child.stdin).catch((error: unknown) => error) : null;
  if (path !== undefined) child.stdin.end();
  let read = false;
  try {
    for await (const chunk of decodeWav(child.stdout as AsyncIterable<Uint8Array>, name)) {
      read = true;
      yield chunk;
    }
    const error = await ended;
    signal.throwIfAborted();
    if (error?.code === 'ENOENT') {
      throw new OneheadError(
        'AUDIO_INVALID',
        `${name} is ${kind}, which needs ffmpeg to be read; install ffmpeg (such as \`apt-get install ffmpeg\`) or convert it to wav, flac, mp3, ogg or m4a.`,
      );
    }
    const fed = await feeding;
    if (fed instanceof OneheadError) throw fed;
    // What was decoded of a damaged file is used, as with the other decoders.
    if (!read && (error || child.exitCode !== 0)) {
      const reason = error?.message ?? complaint.trim().split('\n').at(-1) ?? '';
      throw new OneheadError(
        'AUDIO_INVALID',
        `${name} (${kind}) cannot be decoded: ffmpeg says "${reason.replace(/\.$/, '')}"; check that it is an audio file.`,
      );
    }
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
    child.stdin.destroy();
    child.stdout.destroy();
  }
}
