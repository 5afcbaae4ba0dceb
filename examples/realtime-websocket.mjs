/**
 * A plain WebSocket with onehead's server: sends a recording at the speed of a microphone, and the server detects the
 * turns.
 *
 *     npm install ws
 *     npx onehead serve openai/whisper-small
 *     ffmpeg -i talk.mp3 -ac 1 -ar 24000 -c:a pcm_s16le talk.wav
 *     node examples/realtime-websocket.mjs talk.wav ws://localhost:8000
 */
import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import WebSocket from 'ws';

const [file, server = 'ws://localhost:8000', speed = '1'] = process.argv.slice(2); // 1 is real time
const wav = await readFile(file);
// 1.5 s of silence at the end ends the last turn.
const samples = Buffer.concat([wav.subarray(wav.indexOf('data') + 8), Buffer.alloc(72_000)]);

const headers = { authorization: `Bearer ${process.env.OPENAI_API_KEY ?? 'none'}` };
const socket = new WebSocket(`${server}/v1/realtime?intent=transcription`, { headers });
const send = (event) => socket.send(JSON.stringify(event));
const open = new Map(); // start times of turns that are not yet completed
let sent = false;

socket.on('message', (data) => {
  const event = JSON.parse(data);
  const seconds = (milliseconds) => (milliseconds / 1000).toFixed(1);
  switch (event.type) {
    case 'input_audio_buffer.speech_started':
      open.set(event.item_id, seconds(event.audio_start_ms));
      break;
    case 'conversation.item.input_audio_transcription.delta':
      process.stderr.write(event.delta); // confirmed text, during the turn
      break;
    case 'conversation.item.input_audio_transcription.completed':
      console.log(`${open.get(event.item_id)} s: ${event.transcript}`);
      open.delete(event.item_id);
      if (sent && open.size === 0) socket.close();
      break;
    case 'error':
      console.error(event.error.message);
      process.exitCode = 1;
      socket.close();
  }
});
await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject));
send({
  type: 'session.update',
  session: {
    type: 'transcription',
    audio: {
      input: {
        transcription: { model: 'whisper-1', language: 'en' },
        turn_detection: { type: 'server_vad', threshold: 0.5, prefix_padding_ms: 300, silence_duration_ms: 500 },
      },
    },
  },
});
const chunk = 4800; // bytes in 100 ms
for (let at = 0; at < samples.length; at += chunk) {
  send({ type: 'input_audio_buffer.append', audio: samples.subarray(at, at + chunk).toString('base64') });
  await setTimeout(100 / speed);
}
sent = true;
await setTimeout(1000);
if (open.size === 0) socket.close();
