/** A Redis server for tests, and recordings made of the held-out set. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Transcription } from '../../lib/whisper/transcription/types.js';
import { heldout, joined, samplesOf, wavOf } from '../audio/support.js';

export const hasRedis = spawnSync('redis-server', ['--version']).status === 0;

export function temporaryFolder(): { folder: string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'onehead-batch-'));
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A server that syncs each change to its log before it responds, so that it can be killed at any time. */
export class RedisServer {
  readonly #folder = temporaryFolder();
  #process: ChildProcess | null = null;
  readonly port: number;
  readonly address: string;

  private constructor(port: number, address: string) {
    this.port = port;
    this.address = address;
  }

  static async start(address = '127.0.0.1'): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), address);
    await server.start();
    return server;
  }

  get url(): string {
    return `redis://${this.address}:${this.port}`;
  }

  async start(): Promise<void> {
    const settings = ['--port', this.port, '--bind', this.address, '--dir', this.#folder.folder, '--save', ''];
    const log = ['--appendonly', 'yes', '--appendfsync', 'always', '--maxmemory-policy', 'noeviction'];
    this.#process = spawn('redis-server', [...settings, ...log, '--protected-mode', 'no'].map(String), {
      stdio: 'ignore',
    });
    for (let tries = 0; ; ++tries) {
      const answer = spawnSync('redis-cli', ['-h', this.address, '-p', String(this.port), 'ping']).stdout;
      if (String(answer).includes('PONG')) return;
      if (tries > 100) throw new Error('Redis did not start.');
      await sleep(50);
    }
  }

  async kill(): Promise<void> {
    const process = this.#process;
    if (!process) return;
    const ended = new Promise((resolve) => process.once('exit', resolve));
    process.kill('SIGKILL');
    await ended;
    this.#process = null;
  }

  async remove(): Promise<void> {
    await this.kill();
    this.#folder.remove();
  }
}

const clipNames = readdirSync(heldout).filter((name) => /^\d.*\.flac$/.test(name));

/** The short recordings of the held-out set. */
export async function clips(): Promise<Float32Array[]> {
  const all = await Promise.all(clipNames.map((name) => samplesOf(name)));
  return all.filter(({ length }) => length < 16_000 * 5);
}

/** A distinct recording for each number: a clip after a different silence. */
export function shortRecording(all: readonly Float32Array[], index: number): Buffer {
  const clip = all[index % all.length];
  const samples = new Float32Array(160 * (1 + Math.floor(index / all.length)) + clip.length);
  samples.set(clip, samples.length - clip.length);
  return wavOf(samples);
}

/** A recording of `count` clips, one after another. */
export function longRecording(all: readonly Float32Array[], count: number, first: number): Buffer {
  const chosen = Array.from({ length: count }, (_, index) => all[(first + index * (first + 3)) % all.length]);
  return wavOf(joined(chosen));
}

/**
 * The parts of a result that do not depend on concurrent work. Probabilities do, since other kernels may round
 * differently.
 */
export const essence = ({ text, duration, segments, language }: Transcription) => ({
  text,
  duration,
  language,
  segments: segments.map(({ start, end, tokens, words = [] }) => ({
    start,
    end,
    tokens,
    words: words.map(({ word, start: from, end: to }) => ({ word, from, to })),
  })),
});
