/**
 * OpenAI's realtime client with onehead's server: sends a recording at the speed of a microphone, and prints confirmed
 * text. The client supports TLS only.
 *
 *     npm install openai ws
 *     npx onehead serve openai/whisper-small --tls-certificate certificate.pem --tls-key key.pem
 *     ffmpeg -i talk.mp3 -ac 1 -ar 24000 -c:a pcm_s16le talk.wav
 *     OPENAI_BASE_URL=https://localhost:8000/v1 node examples/realtime-openai.mjs talk.wav
 */
import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';

const [file, speed = '1'] = process.argv.slice(2); // 1 is real time
const wav = await readFile(file);
const samples = wav.subarray(wav.indexOf('data') + 8);

const client = new OpenAI({ apiKey: process.env.OPENAI_API_KEY ?? 'none' }); // OPENAI_BASE_URL is the address
// Accepts a self-signed certificate; omit `options` for a trusted one.
const realtime = new OpenAIRealtimeWS({ model: 'whisper-1', options: { rejectUnauthorized: false } }, client);
const received = (type) => new Promise((resolve) => realtime.on(type, resolve));
realtime.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
realtime.on('conversation.item.input_audio_transcription.delta', ({ delta }) => process.stdout.write(delta));

await received('session.created');
realtime.send({
  type: 'session.update',
  session: {
    type: 'transcription',
    audio: {
      input: {
        format: { type: 'audio/pcm', rate: 24000 },
        transcription: { model: 'whisper-1', language: 'en' },
        turn_detection: null, // one turn, which ends at the commit below
      },
    },
  },
});
const chunk = 4800; // bytes in 100 ms
for (let at = 0; at < samples.length; at += chunk) {
  realtime.send({ type: 'input_audio_buffer.append', audio: samples.subarray(at, at + chunk).toString('base64') });
  await setTimeout(100 / speed);
}
const completed = received('conversation.item.input_audio_transcription.completed');
realtime.send({ type: 'input_audio_buffer.commit' });
const { transcript } = await completed;
process.stdout.write(`\n\nWhole text: ${transcript}\n`);
realtime.close();
