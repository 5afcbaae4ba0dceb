/**
 * OpenAI's client with onehead's server: words with their times, then the text while it is decoded.
 *
 *     npm install openai
 *     npx onehead serve openai/whisper-small
 *     OPENAI_BASE_URL=http://localhost:8000/v1 node examples/openai-client.mjs talk.mp3
 */
import { createReadStream } from 'node:fs';
import OpenAI from 'openai';

const [file] = process.argv.slice(2);
const client = new OpenAI({ apiKey: process.env.OPENAI_API_KEY ?? 'none' }); // OPENAI_BASE_URL is the address

const { language, duration, words } = await client.audio.transcriptions.create({
  model: 'whisper-1',
  file: createReadStream(file), // decoded during the upload
  response_format: 'verbose_json',
  timestamp_granularities: ['word'],
});
console.log(`${language}, ${duration.toFixed(1)} s`);
for (const { start, end, word } of words ?? []) console.log(`${start.toFixed(2)}-${end.toFixed(2)} ${word}`);

const events = await client.audio.transcriptions.create({
  model: 'whisper-1',
  file: createReadStream(file),
  stream: true,
});
for await (const event of events) {
  if (event.type === 'transcript.text.delta') process.stdout.write(event.delta);
}
process.stdout.write('\n');
