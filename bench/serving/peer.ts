/** Callers of faster-whisper, beside ours: in a process of its own, from a Python that has it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Measured } from './load.js';

export interface PeerSettings {
  python: string;
  /** A folder with the model in CTranslate2's form. */
  model: string;
  threads: number;
  seconds: number;
  callers: readonly number[];
}

type PeerRow = { callers: number } & Pick<
  Measured,
  'requests' | 'requestsPerSecond' | 'audioSecondsPerSecond' | 'p50' | 'p95' | 'p99'
>;

/** A row for each number of callers, or why there is none. */
export function measurePeer(
  clips: readonly Float32Array[],
  { python, ...settings }: PeerSettings,
): PeerRow[] | { missing: string } {
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
    const { status, stdout, stderr, error } = spawnSync(python, [script, job], { encoding: 'utf8' });
    if (error) return { missing: error.message };
    if (status !== 0) return { missing: stderr.trim().split('\n').at(-1) ?? `it ended with ${status}` };
    return stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as PeerRow);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
