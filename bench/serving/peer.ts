/** Measures concurrent callers of faster-whisper, in a separate Python process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Measured } from './load.js';

export interface PeerSettings {
  python: string;
  /** A folder with the model in CTranslate2's format. */
  model: string;
  threads: number;
  seconds: number;
  callers: readonly number[];
}

type PeerRow = { callers: number } & Pick<
  Measured,
  'requests' | 'requestsPerSecond' | 'audioSecondsPerSecond' | 'p50' | 'p95' | 'p99'
>;

/**
 * Seconds that loading, and each measurement, may take in addition to its duration. Requests in progress at the end of
 * a measurement are waited for, which takes minutes with many callers of a large model.
 */
const extraSeconds = 120;

/** Yields a row for each number of callers once it is measured. If others are missing, the last item has the reason. */
export async function* measurePeer(
  clips: readonly Float32Array[],
  { python, ...settings }: PeerSettings,
): AsyncGenerator<PeerRow | { missing: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'onehead-peer-'));
  try {
    const files = clips.map((samples, i) => {
      const file = join(folder, `${i}.f32`);
      writeFileSync(file, new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength));
      return file;
    });
    const job = join(folder, 'job.json');
    writeFileSync(job, JSON.stringify({ compute: 'int8', ...settings, clips: files }));
    const script = new URL('../peers/serving.py', import.meta.url).pathname;
    const child = spawn(python, [script, job], { stdio: ['ignore', 'pipe', 'pipe'] });
    const exit = once(child, 'close').then(
      ([status]) => ({ status: status as number | null, reason: '' }),
      ({ message }: Error) => ({ status: null, reason: message }),
    );
    let stderr = '';
    child.stderr.on('data', (text) => {
      stderr = `${stderr}${text}`.slice(-4000);
    });
    let isLate = false;
    const onTimeout = () => {
      isLate = true;
      child.kill('SIGKILL');
    };
    const limit = 1000 * (settings.seconds + extraSeconds);
    let timer = setTimeout(onTimeout, limit);
    try {
      for await (const line of createInterface({ input: child.stdout })) {
        clearTimeout(timer);
        timer = setTimeout(onTimeout, limit);
        yield JSON.parse(line) as PeerRow;
      }
      const { status, reason } = await exit;
      if (isLate) yield { missing: `it took more than ${limit / 1000} s; use fewer callers` };
      else if (status !== 0) {
        yield { missing: reason || (stderr.trim().split('\n').at(-1) ?? '') || `it exited with status ${status}` };
      }
    } finally {
      clearTimeout(timer);
      child.kill('SIGKILL');
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
