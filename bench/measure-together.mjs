/** A method of `npm run bench -- together`, in a separate process, so that its peak memory is known. Prints JSON. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const { dist, model, load, atOnce, batched, language, files } = JSON.parse(process.argv[2]);
const { Whisper } = await import(pathToFileURL(join(dist, 'index.js')).href);
const whisper = await Whisper.load(model, load);
const transcribe = (file) => whisper.transcribe(file, { batched, ...(language ? { language } : {}) });
await transcribe(files[0]); // warm-up
const time = () => whisper.figures().time;
const before = time();
const begin = performance.now();
const results = [];
if (atOnce) results.push(...(await Promise.all(files.map(transcribe))));
else for (const file of files) results.push(await transcribe(file));
const seconds = (performance.now() - begin) / 1000;
const after = time();
const part = (name) => after[name] - before[name];
console.log(
  JSON.stringify({
    audioSeconds: results.reduce((sum, { duration }) => sum + duration, 0),
    seconds,
    hostShare: part('host') / (part('host') + part('encode') + part('decode')),
    peakBytes: 1024 * Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]),
    texts: results.map(({ text }) => text),
  }),
);
whisper.dispose();
