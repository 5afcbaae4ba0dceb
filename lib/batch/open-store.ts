/** Opens a store by its address. */
import { BucketStore } from './bucket-store.js';
import { FolderStore } from './folder-store.js';
import { bucketAddress, type Store } from './store.js';

/**
 * Opens a folder, created if necessary, or s3://bucket/prefix. Throws OneheadError STORE_FAILED if it is not writable.
 */
export async function openStore(address: string): Promise<Store> {
  const bucket = bucketAddress(address);
  return bucket ? BucketStore.open(address, bucket) : FolderStore.open(address);
}
