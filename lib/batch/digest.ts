/** The identity of a result: the digest of its recording's audio, the model and the options. */
import { createHash } from 'node:crypto';
import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { StoredOptions } from './queue.js';

const chunkBytes = 1 << 18;

/** SHA-256 of an open file of about `size` bytes. Rejects with the reason of an aborted signal. */
export async function digestOf(file: FileHandle, size: number, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(Math.min(chunkBytes, size + 1));
  for (;;) {
    signal?.throwIfAborted();
    const { bytesRead } = await file.read(chunk, 0, chunk.length, null);
    if (bytesRead === 0) return hash.digest('hex');
    hash.update(chunk.subarray(0, bytesRead));
  }
}

async function fileDigest(path: string): Promise<string> {
  const file = await open(path);
  try {
    return await digestOf(file, (await file.stat()).size);
  } finally {
    await file.close();
  }
}

/** The checkpoint files that affect results. */
const modelFiles = /\.(json|txt|safetensors|bin|pt|model)$/;

/** SHA-256 of a checkpoint: of a file, or of the files of a folder with their names. */
export async function modelDigest(place: string): Promise<string> {
  if ((await stat(place)).isFile()) return fileDigest(place);
  const hash = createHash('sha256');
  for (const name of (await readdir(place)).sort()) {
    const file = join(place, name);
    if (!modelFiles.test(name) || !(await stat(file)).isFile()) continue;
    hash.update(`${name}\0${await fileDigest(file)}\0`);
  }
  return hash.digest('hex');
}

/** Sorts object keys, so that their order does not matter. */
function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, one]) => one !== undefined && one !== null);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, one]) => [name, ordered(one)]));
}

const short = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 40);

export function optionsDigest(options: StoredOptions): string {
  return short(JSON.stringify(ordered(options)));
}

/** A recording's id in the queue. `version` changes with its source: a time, or an entity tag. */
export function recordingId(source: string, bytes: number, version: string, options: StoredOptions): string {
  return short([source, bytes, version, optionsDigest(options)].join('\0'));
}

/** A result's key. `model`: the result of `modelDigest`, and the options of loading. */
export function resultKey(audio: string, model: string, options: StoredOptions): string {
  return short([audio, model, optionsDigest(options)].join('\0'));
}
