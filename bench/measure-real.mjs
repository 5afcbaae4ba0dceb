/**
 * A process of `npm run bench -- real`: transcribes recordings with onehead. `node measure-real.mjs JOB`, where JOB is
 * a JSON file {package, model, load, transcribe, recordings: [{name, file, language, words}]}. Prints lines of JSON:
 * {load}, an object for each recording, {memory}.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const job = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const { Whisper } = await import(pathToFileURL(join(job.package, 'dist/index.js')).href);
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const peak = () => 1024 * Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);

const begin = performance.now();
const whisper = await Whisper.load(job.model, job.load);
print({ load: (performance.now() - begin) / 1000 });
const run = ({ file, language, words }) =>
  whisper.transcribe(file, { ...(language ? { language } : {}), wordTimestamps: words, ...job.transcribe });
await run({ ...job.recordings[0], words: false }); // warm-up
for (const recording of job.recordings) {
  const start = performance.now();
  const before = process.cpuUsage();
  const { text, language, segments, warnings } = await run(recording);
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(before);
  print({
    name: recording.name,
    words: recording.words,
    seconds,
    cpuSeconds: (user + system) / 1e6,
    text,
    language,
    warnings,
    segments: segments.map(({ seek, start, end, temperature, avg_logprob, no_speech_prob, words }) => ({
      ...{ seek, start, end, temperature, avg_logprob, no_speech_prob },
      ...(recording.words ? { words: (words ?? []).map(({ word, start, end }) => ({ word, start, end })) } : {}),
    })),
  });
}
print({ memory: peak() });
whisper.dispose();
