/**
 * Live transcription of 16-bit samples at 16 kHz from standard input, from a microphone or a file.
 *
 *     arecord -f S16_LE -r 16000 | node examples/live.mjs openai/whisper-small
 *     ffmpeg -i talk.mp3 -ac 1 -ar 16000 -f s16le - | node examples/live.mjs openai/whisper-small
 */
import { Whisper } from 'onehead';

const [model] = process.argv.slice(2);
const whisper = await Whisper.load(model);
const live = await whisper.live();

const listen = async () => {
  let rest = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    const bytes = Buffer.concat([rest, chunk]);
    const count = bytes.length >> 1;
    rest = bytes.subarray(2 * count);
    // A copy, since an Int16Array must begin at an even offset of its buffer.
    live.push(new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + 2 * count)));
    if (live.lag > 5) await live.drained(); // a file is read faster than real time
  }
  await live.close();
};
const listening = listen();

for await (const event of live) {
  if (event.type === 'confirmed') process.stdout.write(event.text);
  if (event.type === 'final') process.stdout.write(`   [${event.start.toFixed(1)} to ${event.end.toFixed(1)} s]\n`);
  if (event.type === 'failed') console.error(event.error.message);
}
await listening;
whisper.dispose();
