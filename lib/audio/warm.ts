/** Makes the first recording as fast as later ones. */
import type { WorkerPool } from '../workers/pool.js';
import type { FromWorker, Opening } from './messages.js';
import { readingOf } from './options.js';

/** Two seconds of silence as a WAV file, at another rate than the model's, so that they are resampled. */
function silence(): Uint8Array {
  const sampleRate = 22_050;
  const bytes = 2 * 2 * sampleRate;
  const file = Buffer.alloc(44 + bytes);
  file.write('RIFF');
  file.writeUInt32LE(36 + bytes, 4);
  file.write('WAVEfmt ', 8);
  file.writeUInt32LE(16, 16); // bytes of the format
  file.writeUInt16LE(1, 20); // integers
  file.writeUInt16LE(1, 22); // channels
  file.writeUInt32LE(sampleRate, 24);
  file.writeUInt32LE(2 * sampleRate, 28);
  file.writeUInt16LE(2, 32); // bytes of a frame
  file.writeUInt16LE(16, 34); // bits of a sample
  file.write('data', 36);
  file.writeUInt32LE(bytes, 40);
  return file;
}

/**
 * Starts a thread in the background and decodes a short recording on it to compile the code that all formats use. The
 * decoder of a compressed format is only loaded for its first recording, since each takes memory. Does not keep the
 * process alive.
 */
export function warmUp(pool: WorkerPool): void {
  if (pool.threads > 0) return;
  pool.warm();
  const { signal, maxBytes, ...reading } = readingOf({});
  const origin = { whole: silence(), name: 'silence' };
  const data: Opening = { origin, reading, apart: false, ahead: Number.POSITIVE_INFINITY };
  const message = (given: unknown) => {
    const received = given as FromWorker<Float32Array>;
    if ('item' in received && !('chunk' in received.item)) void session?.close();
  };
  const session = pool.open('audio', data, { message, failed: () => {} });
  session?.setState(true, false);
}
