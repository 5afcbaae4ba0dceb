/** Whatever else ffmpeg can read, through a process of it. */
import { spawn } from 'node:child_process';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { OneheadError } from '../errors.js';
import type { DecodedChunk } from './wav.js';

/** Decodes through `ffmpeg -i pipe:0`: mono float samples at `sampleRate`. `kind` names what was seen, for error sentences. */
export async function* decodeWithFfmpeg(
  bytes: AsyncIterable<Uint8Array>,
  name: string,
  kind: string,
  sampleRate: number,
): AsyncGenerator<DecodedChunk> {
  const process = spawn(
    'ffmpeg',
    ['-v', 'error', '-nostdin', '-i', 'pipe:0', '-vn', '-ac', '1', '-ar', String(sampleRate), '-f', 'f32le', 'pipe:1'],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  let complaint = '';
  process.stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-2000);
  });
  const failed = new Promise<NodeJS.ErrnoException | null>((resolve) => {
    process.once('error', resolve);
    process.once('close', () => resolve(null));
  });
  // ffmpeg may stop reading before the end (a broken file, tags at the end); what it says of it counts, not the broken pipe.
  const feeding = pipeline(Readable.from(bytes), process.stdin).catch((error: unknown) => error);
  try {
    let held: Buffer = Buffer.alloc(0);
    for await (const chunk of process.stdout as AsyncIterable<Buffer>) {
      held = held.length > 0 ? Buffer.concat([held, chunk]) : chunk;
      const usable = held.length - (held.length % 4);
      if (usable === 0) continue;
      const samples = new Float32Array(usable / 4);
      for (let i = 0; i < samples.length; ++i) samples[i] = held.readFloatLE(4 * i);
      held = held.subarray(usable);
      yield { channels: [samples], sampleRate };
    }
    const error = await failed;
    if (error?.code === 'ENOENT') {
      throw new OneheadError(
        'AUDIO_INVALID',
        `${name} is ${kind}, which needs ffmpeg to be read; install it (\`apt-get install ffmpeg\`) or convert the file to wav, flac, mp3, ogg or m4a.`,
      );
    }
    const fed = await feeding;
    if (fed instanceof OneheadError) throw fed;
    if (error || process.exitCode !== 0) {
      const reason = (error?.message ?? complaint.trim().split('\n').at(-1) ?? '').replace(/\.$/, '');
      throw new OneheadError(
        'AUDIO_INVALID',
        `${name} cannot be decoded: ffmpeg says "${reason}"; check that it is an audio file.`,
      );
    }
  } finally {
    process.kill('SIGKILL');
    process.stdin.destroy();
  }
}
