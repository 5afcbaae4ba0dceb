/** A store by its address. */
import { BucketStore } from './bucket-store.js';
import { FolderStore } from './folder-store.js';
import { bucketAddress, type Store } from './store.js';

/**
 * Opens a folder, which is made where there is none, or s3://bucket/prefix. Throws OneheadError STORE_FAILED where it
 * cannot be written.
 */
export async function openStore(address: string): Promise<Store> {
  const bucket = bucketAddress(address);
  return bucket ? BucketStore.open(address, bucket) : FolderStore.open(address);
}
