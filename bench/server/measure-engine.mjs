/**
 * Runs the engine without a server, with concurrent callers of the same clips. Each line of standard input is a number
 * of milliseconds; it runs for this time, and prints a JSON object with the number of requests, and elapsed and CPU
 * milliseconds.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Whisper } from '../../dist/index.js';

const { model, load, clips, callers } = JSON.parse(process.argv[2]);
const whisper = await Whisper.load(model, load);
const recordings = clips.map((file) => readFileSync(file));
const options = { audioContext: 'fit', batched: false };
for (const recording of recordings) await whisper.transcribe(recording, options);

const run = async (duration) => {
  const end = performance.now() + duration;
  let requests = 0;
  const caller = async (first) => {
    for (let i = first; performance.now() < end; ++i) {
      await whisper.transcribe(recordings[i % recordings.length], options);
      requests += 1;
    }
  };
  const [cpu, started] = [process.cpuUsage(), performance.now()];
  await Promise.all(Array.from({ length: callers }, (_, index) => caller(index)));
  const used = process.cpuUsage(cpu);
  return { requests, elapsed: performance.now() - started, cpu: (used.user + used.system) / 1000 };
};
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await run(Number(line))));
}
whisper.dispose();
