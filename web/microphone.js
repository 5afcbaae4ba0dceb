/** The microphone: text while it is spoken, over the realtime socket, and a recording of it for afterwards. */
import { currentKey } from './api.js';

/** Hertz that the realtime API hears. */
const rate = 24_000;

/** Sixteen bits a sample. */
function pcm16(samples) {
  const bytes = new DataView(new ArrayBuffer(2 * samples.length));
  for (const [index, sample] of samples.entries()) {
    bytes.setInt16(2 * index, Math.max(-1, Math.min(1, sample)) * 0x7fff, true);
  }
  return new Uint8Array(bytes.buffer);
}

function base64(bytes) {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function wavOf(pieces) {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const head = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => {
    for (const [index, letter] of [...letters].entries()) head.setUint8(at + index, letter.charCodeAt(0));
  };
  text(0, 'RIFF');
  head.setUint32(4, 36 + length, true);
  text(8, 'WAVEfmt ');
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, rate, true);
  head.setUint32(28, 2 * rate, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  text(36, 'data');
  head.setUint32(40, length, true);
  const time = new Date().toTimeString().slice(0, 8);
  return new File([head, ...pieces], `Microphone ${time}.wav`, { type: 'audio/wav' });
}

/** The text of all turns, in the order in which they were spoken. */
class Turns {
  #items = new Map();

  take(event) {
    const { type, item_id: id, delta, transcript } = event;
    if (type === 'input_audio_buffer.committed' || type === 'input_audio_buffer.speech_started') {
      if (!this.#items.has(id)) this.#items.set(id, '');
    } else if (type === 'conversation.item.input_audio_transcription.delta') {
      this.#items.set(id, (this.#items.get(id) ?? '') + delta);
    } else if (type === 'conversation.item.input_audio_transcription.completed') this.#items.set(id, transcript);
    else return false;
    return true;
  }

  get text() {
    return [...this.#items.values()]
      .map((text) => text.trim())
      .filter(Boolean)
      .join(' ');
  }
}

/** A socket for transcription; where the server has none, what is spoken is only recorded. */
function openSocket({ model, language }, { onText, onError }) {
  const address = new URL('v1/realtime?intent=transcription', document.baseURI);
  address.protocol = address.protocol.replace('http', 'ws');
  // A browser's socket has no headers: the key goes as the API's own clients send it.
  const key = currentKey();
  const socket = new WebSocket(address, ['realtime', ...(key ? [`openai-insecure-api-key.${key}`] : [])]);
  const turns = new Turns();
  const transcription = { model, ...(language && { language }) };
  const input = { format: { type: 'audio/pcm', rate }, transcription, turn_detection: { type: 'server_vad' } };
  const early = [];
  const send = (event) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(event));
    else if (socket.readyState === WebSocket.CONNECTING) early.push(event);
  };
  socket.onopen = () => {
    send({ type: 'session.update', session: { type: 'transcription', audio: { input } } });
    for (const event of early.splice(0)) send(event);
  };
  socket.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    if (event.type === 'error' || event.type.endsWith('.failed')) onError(event.error.message);
    else if (turns.take(event)) onText(turns.text);
  };
  let open = true;
  // The server has no such socket, refused, or went away: what is spoken is still recorded.
  socket.onclose = () => {
    if (open) onError('There is no more text while you speak; all of it comes when you stop.');
  };
  const close = () => {
    open = false;
    socket.close();
  };
  return { send, close };
}

/**
 * Listens until it is stopped. `onText` is told all text so far, `onLevel` the loudness from 0 to 1, `onError` a
 * sentence. Gives `stop`, which gives the recording. Throws where there is no microphone, or none that may be used.
 */
export async function listen(options, { onText, onLevel, onError }) {
  if (!navigator.mediaDevices)
    throw new Error('A browser gives the microphone to pages over https and on localhost alone.');
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, noiseSuppression: true } });
  const release = () => {
    for (const track of stream.getTracks()) track.stop();
  };
  let context;
  let source;
  let capture;
  let socket;
  try {
    context = new AudioContext({ sampleRate: rate });
    await context.audioWorklet.addModule(new URL('page/capture.js', document.baseURI));
    source = context.createMediaStreamSource(stream);
    capture = new AudioWorkletNode(context, 'capture', { numberOfOutputs: 0 });
    socket = openSocket(options, { onText, onError });
  } catch (error) {
    release();
    void context?.close();
    throw error;
  }
  // Pulled out, or its use was taken back.
  for (const track of stream.getTracks()) {
    track.onended = () => onError('The microphone went away; stop to keep what was said.');
  }
  const pieces = [];
  capture.port.onmessage = ({ data }) => {
    const bytes = pcm16(data);
    pieces.push(bytes);
    socket.send({ type: 'input_audio_buffer.append', audio: base64(bytes) });
    onLevel(Math.min(1, Math.max(...data.map(Math.abs)) * 1.5));
  };
  source.connect(capture);
  return {
    async stop() {
      source.disconnect();
      release();
      await context.close();
      socket.close();
      return wavOf(pieces);
    },
  };
}
