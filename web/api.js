/** The parts of the server's API that the page uses. URLs are relative, so that the page works under any prefix. */

let key = '';
try {
  key = sessionStorage.getItem('onehead-key') ?? '';
} catch {
  // Without storage, the key has to be entered again after a reload.
}

export const currentKey = () => key;

/** Sets the key, which is stored until the window is closed. */
export function setKey(value) {
  // Only these characters are valid in a header; others were entered by mistake.
  key = value.replace(/[^\x21-\x7e]/g, '');
  try {
    sessionStorage.setItem('onehead-key', key);
  } catch {}
}

const authorization = () => (key === '' ? {} : { authorization: `Bearer ${key}` });

/** An error of the server. `status` is 0 if there was no valid response. */
export class ServerError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const unreachable = 'The server cannot be reached; try again.';

/** Parses a response. A proxy may send an HTML page instead. */
function parseJson(body) {
  try {
    return JSON.parse(body);
  } catch {
    throw new ServerError(0, 'The response is invalid: it is incomplete, or comes from another server; try again.');
  }
}

function errorOf(status, body) {
  let message = '';
  try {
    message = JSON.parse(body).error.message;
  } catch {}
  return new ServerError(status, message || `The server's response has status ${status}; try again.`);
}

/** The names of the served models. Rejects with ServerError. */
export async function models() {
  const response = await fetch('v1/models', { headers: authorization() }).catch(() => {
    throw new ServerError(0, unreachable);
  });
  const body = await response.text();
  if (!response.ok) throw errorOf(response.status, body);
  return parseJson(body).data.map(({ id }) => id);
}

/** The server's metrics by name, summed over all models; null if the page may not read them. */
export async function metrics() {
  const response = await fetch('metrics', { headers: authorization() }).catch(() => null);
  if (!response?.ok) return null;
  const sums = new Map();
  for (const line of (await response.text()).split('\n')) {
    const [, name, value] = /^(onehead_\w+)(?:\{[^}]*\})? ([-+.\deE]+)$/.exec(line) ?? [];
    if (name !== undefined) sums.set(name, (sums.get(name) ?? 0) + Number(value));
  }
  return sums;
}

/** Calls `onEvent` with each complete event in `text` after `start`. Returns the position after these events. */
function readEvents(text, begin, onEvent) {
  let start = begin;
  for (let end = text.indexOf('\n\n', start); end >= 0; end = text.indexOf('\n\n', start)) {
    const data = text
      .slice(start, end)
      .split('\n')
      .find((line) => line.startsWith('data: '));
    start = end + 2;
    if (data !== undefined && data !== 'data: [DONE]') onEvent(parseJson(data.slice('data: '.length)));
  }
  return start;
}

/**
 * Transcribes a file. `onUpload` is called with the share that has been sent, `onText` with new text. Resolves to the
 * last event, with text, segments and words. Rejects with ServerError, or with the signal's reason.
 */
export function transcribe(file, { task, model, language, signal, onUpload, onText }) {
  const form = new FormData();
  form.append('model', model);
  if (language && task === 'transcriptions') form.append('language', language);
  form.append('response_format', 'verbose_json');
  if (task === 'transcriptions') {
    form.append('timestamp_granularities[]', 'word');
    form.append('timestamp_granularities[]', 'segment');
    form.append('stream', 'true');
  }
  // Appended last, so that the server can decode the file while it arrives.
  form.append('file', file, file.name || 'recording.wav');
  return new Promise((resolve, reject) => {
    // Unlike fetch, XMLHttpRequest reports the progress of an upload.
    const request = new XMLHttpRequest();
    let position = 0;
    let last = null;
    let failure = null;
    const readNewEvents = () => {
      if (request.status !== 200 || !request.getResponseHeader('content-type')?.startsWith('text/event-stream')) return;
      position = readEvents(request.responseText, position, (event) => {
        if (event.error) failure = new ServerError(500, event.error.message);
        else if (event.type === 'transcript.text.delta') onText(event.delta);
        else if (event.type === 'transcript.text.done') last = event;
      });
    };
    request.upload.onprogress = ({ loaded, total }) => onUpload(total > 0 ? loaded / total : 0);
    request.onprogress = () => {
      try {
        readNewEvents();
      } catch (error) {
        failure = error; // reported when the request has ended
      }
    };
    const result = () => {
      readNewEvents();
      if (request.status !== 200) throw errorOf(request.status, request.responseText);
      if (failure) throw failure;
      if (!last && task !== 'translations')
        throw new ServerError(0, 'The connection was closed before the transcription was complete; try again.');
      return last ?? parseJson(request.responseText);
    };
    request.onload = () => {
      try {
        resolve(result());
      } catch (error) {
        reject(error);
      }
    };
    request.onerror = () => reject(new ServerError(0, unreachable));
    request.onabort = () => reject(signal.reason);
    signal.addEventListener('abort', () => request.abort(), { once: true });
    request.open('POST', `v1/audio/${task}`);
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.send(form);
  });
}
