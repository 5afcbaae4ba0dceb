/** The engine without a server: so many callers of the same clips, for so long. Prints requests, elapsed and CPU milliseconds as JSON. */
import { readFileSync } from 'node:fs';
import { Whisper } from '../../dist/index.js';

const { model, load, clips, callers, milliseconds } = JSON.parse(process.argv[2]);
const whisper = await Whisper.load(model, load);
const recordings = clips.map((file) => readFileSync(file));
const options = { audioContext: 'fit', batched: false };
for (const recording of recordings) await whisper.transcribe(recording, options);

const run = async (duration) => {
  const until = performance.now() + duration;
  let requests = 0;
  const caller = async (first) => {
    for (let i = first; performance.now() < until; ++i) {
      await whisper.transcribe(recordings[i % recordings.length], options);
      requests += 1;
    }
  };
  const [cpu, started] = [process.cpuUsage(), performance.now()];
  await Promise.all(Array.from({ length: callers }, (_, index) => caller(index)));
  const used = process.cpuUsage(cpu);
  return { requests, elapsed: performance.now() - started, cpu: (used.user + used.system) / 1000 };
};
await run(1000);
console.log(JSON.stringify(await run(milliseconds)));
whisper.dispose();
