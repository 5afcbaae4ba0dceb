/** A store in an S3 bucket, or on another server with the same API. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import { OneheadError } from '../errors.js';
import { optional } from './optional.js';
import { type BucketAddress, type Store, storeFailed } from './store.js';

type Sdk = typeof import('@aws-sdk/client-s3');

/** Attempts to write when there are conflicts, which take some seconds together. */
const maxAttempts = 7;
/** The prefix of objects that test whether the server supports conditional writes. */
const trialPrefix = '.onehead/trial';

export interface Bucket {
  sdk: Sdk;
  client: S3Client;
}

/**
 * A client with credentials and region from the environment (AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL_S3,
 * profiles, roles). Throws OneheadError NOT_SUPPORTED if the package is missing.
 */
export async function openBucket(): Promise<Bucket> {
  const sdk = await optional(() => import('@aws-sdk/client-s3'), 'Reading or writing s3://', '@aws-sdk/client-s3');
  const endpoint = process.env.AWS_ENDPOINT_URL_S3 ?? process.env.AWS_ENDPOINT_URL;
  const client = new sdk.S3Client({
    ...(process.env.AWS_REGION === undefined && endpoint !== undefined && { region: 'us-east-1' }),
    // Self-hosted servers have one host name for all buckets.
    ...(endpoint !== undefined && { endpoint, forcePathStyle: true }),
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  return { sdk, client };
}

export const statusOf = (error: unknown): number | undefined =>
  (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode;

const isMissing = (error: unknown) => statusOf(error) === 404 && (error as { name?: string }).name !== 'NoSuchBucket';

export class BucketStore implements Store {
  readonly name: string;
  readonly #sdk: Sdk;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  /** False if the server does not support conditional writes: it overwrites existing objects. */
  #conditionalWrites = true;

  private constructor(name: string, { sdk, client }: Bucket, { bucket, prefix }: BucketAddress) {
    this.name = name;
    this.#sdk = sdk;
    this.#client = client;
    this.#bucket = bucket;
    this.#prefix = prefix === '' ? '' : `${prefix}/`;
  }

  /** Throws OneheadError STORE_FAILED if the bucket is not writable. */
  static async open(name: string, address: BucketAddress): Promise<BucketStore> {
    const store = new BucketStore(name, await openBucket(), address);
    const content = new Uint8Array([49]);
    // A unique name, since several workers may start at the same time.
    const trial = `${trialPrefix}/${randomUUID()}`;
    await store.write(trial, content);
    store.#conditionalWrites = !(await store.create(trial, content));
    await store.remove(trial);
    return store;
  }

  #objectOf(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: `${this.#prefix}${key}` };
  }

  async read(key: string): Promise<Buffer | null> {
    try {
      const { Body } = await this.#client.send(new this.#sdk.GetObjectCommand(this.#objectOf(key)));
      return Buffer.from(await Body!.transformToByteArray());
    } catch (cause) {
      if (isMissing(cause)) return null;
      throw storeFailed(`read ${this.name}/${key}`, cause);
    }
  }

  async write(key: string, bytes: Uint8Array): Promise<void> {
    try {
      await this.#client.send(new this.#sdk.PutObjectCommand({ ...this.#objectOf(key), Body: bytes }));
    } catch (cause) {
      throw storeFailed(`write ${this.name}/${key}`, cause);
    }
  }

  async create(key: string, bytes: Uint8Array): Promise<boolean> {
    if (!this.#conditionalWrites && (await this.#exists(key))) return false;
    for (let attempt = 1; ; ++attempt) {
      try {
        await this.#client.send(
          new this.#sdk.PutObjectCommand({ ...this.#objectOf(key), Body: bytes, IfNoneMatch: '*' }),
        );
        return true;
      } catch (cause) {
        const status = statusOf(cause);
        if (status === 412) return false; // the object exists
        if (status === 501) break;
        // 409: a concurrent write or removal. The next attempt shows whether the object exists.
        if (status !== 409 || attempt === maxAttempts) throw storeFailed(`write ${this.name}/${key}`, cause);
        await sleep(50 * 2 ** attempt * Math.random());
      }
    }
    // 501: the server does not support conditional writes.
    this.#conditionalWrites = false;
    if (await this.#exists(key)) return false;
    await this.write(key, bytes);
    return true;
  }

  async #exists(key: string): Promise<boolean> {
    try {
      await this.#client.send(new this.#sdk.HeadObjectCommand(this.#objectOf(key)));
      return true;
    } catch (cause) {
      if (isMissing(cause)) return false;
      throw storeFailed(`read ${this.name}/${key}`, cause);
    }
  }

  async list(prefix: string): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of listBucket(
      { sdk: this.#sdk, client: this.#client },
      { bucket: this.#bucket, prefix: `${this.#prefix}${prefix}/` },
    )) {
      keys.push(key.slice(this.#prefix.length));
    }
    return keys.sort();
  }

  async remove(key: string): Promise<void> {
    try {
      await this.#client.send(new this.#sdk.DeleteObjectCommand(this.#objectOf(key)));
    } catch (cause) {
      throw storeFailed(`remove ${this.name}/${key}`, cause);
    }
  }

  close(): void {
    this.#client.destroy();
  }
}

/**
 * All objects whose keys begin with `prefix`. Throws OneheadError AUDIO_NOT_FOUND if the bucket does not exist,
 * STORE_FAILED for other errors.
 */
export async function* listBucket(
  { sdk, client }: Bucket,
  { bucket, prefix }: BucketAddress,
): AsyncGenerator<{ key: string; bytes: number; version: string }> {
  try {
    for await (const page of sdk.paginateListObjectsV2({ client }, { Bucket: bucket, Prefix: prefix })) {
      for (const { Key, Size = 0, ETag = '' } of page.Contents ?? []) {
        if (Key !== undefined) yield { key: Key, bytes: Size, version: ETag };
      }
    }
  } catch (cause) {
    if (cause instanceof OneheadError) throw cause;
    const action = `list s3://${bucket}/${prefix}`;
    if (statusOf(cause) === 404) {
      throw new OneheadError('AUDIO_NOT_FOUND', `Cannot ${action}: there is no such bucket.`, { cause });
    }
    throw storeFailed(action, cause);
  }
}
