/** What makes a result the result of a recording: the digest of its audio, the model and the options. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { StoredOptions } from './queue.js';

/** SHA-256 of a file's bytes. Rejects with the reason of an aborted signal. */
export async function fileDigest(file: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 18, signal })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** What a checkpoint's results depend on. */
const modelFiles = /\.(json|txt|safetensors|bin|pt|model)$/;

/** SHA-256 of a checkpoint: of a file, or of the files in a folder with their names. */
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

/** Values in one order whatever order they were given in. */
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

/** A recording's name in the queue. `version` changes when its source does: a time, or an entity tag. */
export function recordingId(source: string, bytes: number, version: string, options: StoredOptions): string {
  return short([source, bytes, version, optionsDigest(options)].join('\0'));
}

/** A result's name. `model`: of `modelDigest` and what it was loaded with. */
export function resultKey(audio: string, model: string, options: StoredOptions): string {
  return short([audio, model, optionsDigest(options)].join('\0'));
}
