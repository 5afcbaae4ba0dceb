/** The microphone: transcribes speech live over the realtime API, and records it for a final transcription. */
import { currentKey } from './api.js';

/** The sample rate of the realtime API in hertz. */
const sampleRate = 24_000;

/** Converts samples to 16-bit little-endian PCM. */
function pcm16(samples) {
  const bytes = new DataView(new ArrayBuffer(2 * samples.length));
  for (const [index, sample] of samples.entries()) {
    bytes.setInt16(2 * index, Math.max(-1, Math.min(1, sample)) * 0x7fff, true);
  }
  return new Uint8Array(bytes.buffer);
}

function base64(bytes) {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/** A WAV file of chunks of 16-bit PCM. */
function wavOf(chunks) {
  const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const header = new DataView(new ArrayBuffer(44));
  const writeText = (offset, text) => {
    for (const [index, character] of [...text].entries()) header.setUint8(offset + index, character.charCodeAt(0));
  };
  writeText(0, 'RIFF');
  header.setUint32(4, 36 + length, true);
  writeText(8, 'WAVEfmt ');
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true);
  header.setUint16(22, 1, true);
  header.setUint32(24, sampleRate, true);
  header.setUint32(28, 2 * sampleRate, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  writeText(36, 'data');
  header.setUint32(40, length, true);
  const time = new Date().toTimeString().slice(0, 8);
  return new File([header, ...chunks], `Microphone ${time}.wav`, { type: 'audio/wav' });
}

/** Collects the text of all turns, in the order of speech. */
class Turns {
  /** Texts by id of the item. */
  #items = new Map();

  /** Handles an event. Returns true if it may have changed the text. */
  handle(event) {
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

/** Opens a socket for live transcription. If that fails, speech is still recorded. */
function openSocket({ model, language }, { onText, onError }) {
  const address = new URL('v1/realtime?intent=transcription', document.baseURI);
  address.protocol = address.protocol.replace('http', 'ws');
  // A browser cannot set headers of a WebSocket, so the key is sent as a subprotocol, as OpenAI's clients do.
  const key = currentKey();
  const socket = new WebSocket(address, ['realtime', ...(key ? [`openai-insecure-api-key.${key}`] : [])]);
  const turns = new Turns();
  const transcription = { model, ...(language && { language }) };
  const input = {
    format: { type: 'audio/pcm', rate: sampleRate },
    transcription,
    turn_detection: { type: 'server_vad' },
  };
  const pending = [];
  const send = (event) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(event));
    else if (socket.readyState === WebSocket.CONNECTING) pending.push(event);
  };
  socket.onopen = () => {
    send({ type: 'session.update', session: { type: 'transcription', audio: { input } } });
    for (const event of pending.splice(0)) send(event);
  };
  socket.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    if (event.type === 'error' || event.type.endsWith('.failed')) onError(event.error.message);
    else if (turns.handle(event)) onText(turns.text);
  };
  let closing = false;
  socket.onclose = () => {
    if (!closing) onError('Live transcription has ended; the whole text follows when you stop.');
  };
  const close = () => {
    closing = true;
    socket.close();
  };
  return { send, close };
}

/**
 * Starts recording and live transcription. `onText` is called with all text so far, `onLevel` with the level from 0 to
 * 1, `onError` with a message. Resolves to an object whose `stop` resolves to the recording. Rejects if there is no
 * microphone, or the page may not use it.
 */
export async function startMicrophone(options, { onText, onLevel, onError }) {
  if (!navigator.mediaDevices)
    throw new Error('Browsers only allow the microphone on pages over https or on localhost.');
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, noiseSuppression: true } });
  const release = () => {
    for (const track of stream.getTracks()) track.stop();
  };
  let context;
  let source;
  let capture;
  let socket;
  try {
    context = new AudioContext({ sampleRate });
    await context.audioWorklet.addModule(new URL('page/capture.js', document.baseURI));
    source = context.createMediaStreamSource(stream);
    capture = new AudioWorkletNode(context, 'capture', { numberOfOutputs: 0 });
    socket = openSocket(options, { onText, onError });
  } catch (error) {
    release();
    void context?.close();
    throw error;
  }
  // The microphone was disconnected, or the permission was revoked.
  for (const track of stream.getTracks()) {
    track.onended = () => onError('The microphone is no longer available; stop to keep the recording.');
  }
  const chunks = [];
  capture.port.onmessage = ({ data }) => {
    const bytes = pcm16(data);
    chunks.push(bytes);
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
      return wavOf(chunks);
    },
  };
}
