/** The thread of FolderWriter. */
import { parentPort } from 'node:worker_threads';
import { type FileWrite, writeFiles } from './file-writes.js';

const folders = new Set<string>();
parentPort?.on('message', (writes: FileWrite[]) => parentPort?.postMessage(writeFiles(writes, folders)));
