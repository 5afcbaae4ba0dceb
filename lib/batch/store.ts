/** The interface of a store of results and journals: a folder, or an S3 bucket. */
import { refuse } from '../checks.js';
import { OneheadError, reasonOf } from '../errors.js';

/** Keys are paths with slashes. Every method throws OneheadError STORE_FAILED on failure, which may be temporary. */
export interface Store {
  /** The address as the user gave it, for messages. */
  readonly name: string;
  /** Resolves to null if the key does not exist. */
  read(key: string): Promise<Buffer | null>;
  /** Writes atomically and replaces an existing entry. */
  write(key: string, bytes: Uint8Array): Promise<void>;
  /** Writes atomically, only if the key does not exist; false if it does. */
  create(key: string, bytes: Uint8Array): Promise<boolean>;
  /** The keys in the folder `prefix` and below, sorted. */
  list(prefix: string): Promise<string[]>;
  /** Does nothing if the key does not exist. */
  remove(key: string): Promise<void>;
  close(): void;
}

export function storeFailed(action: string, cause: unknown): OneheadError {
  return new OneheadError('STORE_FAILED', `Cannot ${action}: ${reasonOf(cause)}.`, { cause });
}

export interface BucketAddress {
  bucket: string;
  /** Without leading and trailing slashes; '' for the whole bucket. */
  prefix: string;
}

/**
 * Parses s3://bucket/prefix; null for other addresses. Throws OneheadError INVALID_ARGUMENT if the bucket is missing.
 */
export function bucketAddress(address: string): BucketAddress | null {
  if (!address.startsWith('s3://')) return null;
  const [bucket, ...rest] = address.slice('s3://'.length).split('/');
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) {
    refuse('the address', 'a bucket and a prefix such as s3://bucket/folder', address);
  }
  return { bucket, prefix: rest.join('/').replace(/\/+$/, '') };
}
