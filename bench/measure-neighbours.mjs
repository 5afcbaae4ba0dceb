/**
 * A process of `npm run bench -- neighbours`: loads the model `--devices` times, prints 'ready', waits for a line of
 * input, and transcribes the recording repeatedly on each device for `--seconds`. Prints a JSON object.
 */
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { Whisper } from '../dist/index.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    audio: { type: 'string' },
    dtype: { type: 'string', default: 'auto' },
    threads: { type: 'string' },
    devices: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '5' },
  },
});

const threads = values.threads === undefined ? undefined : Number(values.threads);
const load = () => Whisper.load(values.model, { device: 'cpu', dtype: values.dtype, threads });
const devices = await Promise.all(Array.from({ length: Number(values.devices) }, load));
const texts = new Set();
for (let i = 0; i < 3; ++i) {
  for (const whisper of devices) texts.add((await whisper.transcribe(values.audio, { language: 'en' })).text);
}
console.log('ready');
await once(process.stdin, 'data');

const times = [];
const cpuBefore = process.cpuUsage();
const begin = performance.now();
await Promise.all(
  devices.map(async (whisper) => {
    for (let start = begin; start - begin < Number(values.seconds) * 1000; ) {
      texts.add((await whisper.transcribe(values.audio, { language: 'en' })).text);
      const end = performance.now();
      times.push(end - start);
      start = end;
    }
  }),
);
const elapsed = performance.now() - begin;
const cpu = process.cpuUsage(cpuBefore);
if (texts.size !== 1) throw new Error(`The transcriptions of one recording have ${texts.size} different texts.`);
console.log(JSON.stringify({ clips: times.length, elapsed, times, cpuMilliseconds: (cpu.user + cpu.system) / 1000 }));
for (const whisper of devices) whisper.dispose();
process.stdin.destroy();
