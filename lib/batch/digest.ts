/** Digests of audio, models and options, which identify recordings and results. */
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

/** The files of a checkpoint that affect results. */
const modelFiles = /\.(json|txt|safetensors|bin|pt|model)$/;

/** SHA-256 of a checkpoint: of a file, or of the files of a folder with their names. */
export async function modelDigest(path: string): Promise<string> {
  if ((await stat(path)).isFile()) return fileDigest(path);
  const hash = createHash('sha256');
  for (const name of (await readdir(path)).sort()) {
    const file = join(path, name);
    if (!modelFiles.test(name) || !(await stat(file)).isFile()) continue;
    hash.update(`${name}\0${await fileDigest(file)}\0`);
  }
  return hash.digest('hex');
}

/** Sorts the keys of objects and omits absent values, so that equal options have equal digests. */
function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, item]) => item !== undefined && item !== null);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, item]) => [key, canonical(item)]));
}

const shortDigest = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 40);

export function optionsDigest(options: StoredOptions): string {
  return shortDigest(JSON.stringify(canonical(options)));
}

/** A recording's id in the queue. `version` changes whenever the source does: a modification time or an entity tag. */
export function recordingId(source: string, bytes: number, version: string, options: StoredOptions): string {
  return shortDigest([source, bytes, version, optionsDigest(options)].join('\0'));
}

/** A result's key. `audio` is a digest; `model` is the result of `modelDigest` and the options of loading. */
export function resultKey(audio: string, model: string, options: StoredOptions): string {
  return shortDigest([audio, model, optionsDigest(options)].join('\0'));
}
