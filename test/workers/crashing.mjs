/** A thread of the pool that ends when it is told to open a recording called 'exit' or 'memory'. */
import { parentPort } from 'node:worker_threads';
import '../../dist/worker.js';

parentPort.on('message', ({ data }) => {
  const name = data?.origin?.name;
  if (name === 'exit') process.exit(3);
  if (name === 'memory') for (const held = []; ; ) held.push(new Array(1e6).fill(held.length + 0.5));
});
