/** Provides recordings as complete files on this machine. */
import { constants, createWriteStream, type Stats } from 'node:fs';
import { mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { shown } from '../errors.js';
import { type Bucket, openBucket } from './bucket-store.js';
import { digestOf } from './digest.js';
import { fileError, noFile, objectError } from './failures.js';
import { type BucketAddress, bucketAddress } from './store.js';

export interface LocalFile {
  path: string;
  /** SHA-256 of its bytes. */
  digest: string;
  /** Throws if the file has changed since its digest was computed: a temporary failure. */
  checkUnchanged(): Promise<void>;
  /** Deletes a downloaded file. */
  clean(): Promise<void>;
}

/** Changes whenever the file does. */
const versionOf = ({ dev, ino, size, mtimeMs }: Stats) => [dev, ino, size, mtimeMs].join();

/** Computes the digest of a file. It is opened without blocking, since a pipe with its name would block forever. */
async function digestFile(path: string, signal: AbortSignal): Promise<{ digest: string; version: string }> {
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    const status = await file.stat();
    if (!status.isFile()) throw noFile(path, status.isDirectory() ? 'it is a folder' : 'it is not a regular file');
    return { digest: await digestOf(file, status.size, signal), version: versionOf(status) };
  } finally {
    await file.close();
  }
}

async function localFile(path: string, signal: AbortSignal): Promise<LocalFile> {
  const { digest, version } = await digestFile(path, signal).catch((error: unknown) => {
    throw fileError(path, error);
  });
  const checkUnchanged = async () => {
    const status = await stat(path).catch((error: unknown) => {
      throw fileError(path, error);
    });
    if (versionOf(status) !== version) throw new Error(`${shown(path)} changed while it was read`);
  };
  return { path, digest, checkUnchanged, clean: async () => {} };
}

export class LocalFiles {
  #bucket: Promise<Bucket> | null = null;

  /** Downloads the recording if necessary. Throws OneheadError AUDIO_NOT_FOUND for permanent failures. */
  async fetch(source: string, signal: AbortSignal): Promise<LocalFile> {
    const address = bucketAddress(source);
    return address === null ? localFile(source, signal) : this.#download(source, address, signal);
  }

  async #download(source: string, { bucket, prefix }: BucketAddress, signal: AbortSignal): Promise<LocalFile> {
    this.#bucket ??= openBucket();
    const { sdk, client } = await this.#bucket;
    const folder = await mkdtemp(join(tmpdir(), 'onehead-'));
    const clean = () => rm(folder, { recursive: true, force: true });
    // Warnings may quote the name, so it is kept unless it is too long for the file system.
    const name = basename(prefix);
    const path = join(folder, Buffer.byteLength(name) > 200 ? 'recording' : name);
    try {
      const command = new sdk.GetObjectCommand({ Bucket: bucket, Key: prefix });
      const { Body } = await client.send(command, { abortSignal: signal }).catch((error: unknown) => {
        throw objectError(source, error);
      });
      await pipeline(Body as Readable, createWriteStream(path), { signal });
      const { digest } = await digestFile(path, signal);
      return { path, digest, checkUnchanged: async () => {}, clean };
    } catch (error) {
      await clean();
      throw error;
    }
  }

  async close(): Promise<void> {
    // If opening failed, the recordings have failed with that error already.
    (await this.#bucket?.catch(() => null))?.client.destroy();
    this.#bucket = null;
  }
}
