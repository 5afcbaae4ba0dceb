/** The store of results and journals: a folder, or a bucket of S3. */
import { OneheadError, reasonOf, shown } from '../errors.js';

/**
 * Keys are paths with slashes. Every method throws OneheadError STORE_FAILED where the store does not do it; that may
 * go better later.
 */
export interface Store {
  /** The name that the user gave. */
  readonly name: string;
  read(key: string): Promise<Buffer | null>;
  /** Whole or not at all; what was there is replaced. */
  write(key: string, bytes: Uint8Array): Promise<void>;
  /** Whole or not at all, and only where nothing is: false where something is. */
  create(key: string, bytes: Uint8Array): Promise<boolean>;
  /** Keys that begin with `prefix`, a key's part up to a slash, in order. */
  list(prefix: string): Promise<string[]>;
  /** Harmless where nothing is. */
  remove(key: string): Promise<void>;
  close(): void;
}

export function storeFailed(what: string, cause: unknown): OneheadError {
  return new OneheadError('STORE_FAILED', `Cannot ${what}: ${reasonOf(cause)}.`, { cause });
}

export interface BucketAddress {
  bucket: string;
  /** Without a slash at its ends; '' for the whole bucket. */
  prefix: string;
}

/**
 * The parts of s3://bucket/prefix; null for what is no such address. Throws OneheadError INVALID_ARGUMENT for one
 * without a bucket.
 */
export function bucketAddress(address: string): BucketAddress | null {
  if (!address.startsWith('s3://')) return null;
  const [bucket, ...rest] = address.slice('s3://'.length).split('/');
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `Expected an address such as s3://bucket/folder but received '${shown(address)}'.`,
    );
  }
  return { bucket, prefix: rest.join('/').replace(/\/+$/, '') };
}
