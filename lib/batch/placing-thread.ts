/** The thread that moves files to their final names. */
import { parentPort } from 'node:worker_threads';
import { type Placement, place } from './placing.js';

const made = new Set<string>();
parentPort?.on('message', (placements: Placement[]) => parentPort?.postMessage(place(placements, made)));
