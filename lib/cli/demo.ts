/** `npm run demo`: transcribes the bundled sample with the bundled model, and prints the time of each stage. */
import { join } from 'node:path';
import { packageRoot } from '../package-root.js';
import { Whisper } from '../whisper/whisper.js';

const sample = join(packageRoot(), 'models', 'micro', 'sample.flac');
const started = performance.now();
const whisper = await Whisper.load();
const loaded = performance.now();
const { segments, duration, timings } = await whisper.transcribe(sample, { language: 'en' });
const ended = performance.now();
whisper.dispose();

for (const { start, end, text } of segments)
  console.log(`${start.toFixed(2).padStart(6)} - ${end.toFixed(2).padStart(5)} s ${text}`);
console.log();
const stages = { 'load the model': loaded - started, 'read the audio': timings.audio, ...timings };
for (const [stage, milliseconds] of Object.entries(stages)) {
  if (stage !== 'audio') console.log(`${stage.padEnd(16)}${milliseconds.toFixed(1).padStart(8)} ms`);
}
const seconds = (ended - loaded) / 1000;
console.log(
  `${'transcription'.padEnd(16)}${(1000 * seconds).toFixed(1).padStart(8)} ms: ${(duration / seconds).toFixed(0)} times real time`,
);
