/** What the thread runs that puts files into their places. */
import { parentPort } from 'node:worker_threads';
import { type Placement, place } from './placing.js';

const made = new Set<string>();
parentPort?.on('message', (placements: Placement[]) => parentPort?.postMessage(place(placements, made)));
