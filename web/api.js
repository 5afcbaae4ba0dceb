/** The server's API, as far as the page needs it. Addresses are the page's own, so that it may lie under any prefix. */

let key = '';
try {
  key = sessionStorage.getItem('onehead-key') ?? '';
} catch {
  // Without storage the key is asked for again.
}

export const currentKey = () => key;

/** Kept until the window is closed. */
export function useKey(value) {
  // A header takes these letters alone; others are a slip of the fingers.
  key = value.replace(/[^\x21-\x7e]/g, '');
  try {
    sessionStorage.setItem('onehead-key', key);
  } catch {}
}

const authorization = () => (key === '' ? {} : { authorization: `Bearer ${key}` });

/** The server refused, with its sentence. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const unreachable = 'The server cannot be reached; try again.';

/** What the server says. A proxy before it may answer with a page of its own. */
function parsed(body) {
  try {
    return JSON.parse(body);
  } catch {
    throw new Refused(0, 'What answered was not this server, or it stopped in the middle; try again.');
  }
}

function refusal(status, body) {
  let message = '';
  try {
    message = JSON.parse(body).error.message;
  } catch {}
  return new Refused(status, message || `The server answered ${status || 'nothing'}.`);
}

/** The names of the models that are served. */
export async function models() {
  const response = await fetch('v1/models', { headers: authorization() }).catch(() => {
    throw new Refused(0, unreachable);
  });
  const body = await response.text();
  if (!response.ok) throw refusal(response.status, body);
  return parsed(body).data.map(({ id }) => id);
}

/** The server's figures: a map from a name to the sum over all models; null where they are not shown. */
export async function figures() {
  const response = await fetch('metrics', { headers: authorization() }).catch(() => null);
  if (!response?.ok) return null;
  const sums = new Map();
  for (const line of (await response.text()).split('\n')) {
    const [, name, value] = /^(onehead_\w+)(?:\{[^}]*\})? ([-+.\deE]+)$/.exec(line) ?? [];
    if (name !== undefined) sums.set(name, (sums.get(name) ?? 0) + Number(value));
  }
  return sums;
}

/** Calls `onEvent` with each whole event of a text that grows; gives where the rest begins. */
function readEvents(text, from, onEvent) {
  let start = from;
  for (let end = text.indexOf('\n\n', start); end >= 0; end = text.indexOf('\n\n', start)) {
    const data = text
      .slice(start, end)
      .split('\n')
      .find((line) => line.startsWith('data: '));
    start = end + 2;
    if (data !== undefined && data !== 'data: [DONE]') onEvent(parsed(data.slice('data: '.length)));
  }
  return start;
}

/**
 * Transcribes a file. `onUpload` is told the share that is sent, `onText` each new piece of text. Gives the last event,
 * with text, segments and words. Rejects with Refused, or with the signal's reason.
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
  // Last, so that it is decoded while it is sent.
  form.append('file', file, file.name || 'recording.wav');
  return new Promise((resolve, reject) => {
    // Not fetch, which does not tell how much has been sent.
    const request = new XMLHttpRequest();
    let read = 0;
    let last = null;
    let failure = null;
    const take = () => {
      if (request.status !== 200 || !request.getResponseHeader('content-type')?.startsWith('text/event-stream')) return;
      read = readEvents(request.responseText, read, (event) => {
        if (event.error) failure = new Refused(500, event.error.message);
        else if (event.type === 'transcript.text.delta') onText(event.delta);
        else if (event.type === 'transcript.text.done') last = event;
      });
    };
    request.upload.onprogress = ({ loaded, total }) => onUpload(total > 0 ? loaded / total : 0);
    request.onprogress = () => {
      try {
        take();
      } catch (error) {
        failure = error; // told at the end
      }
    };
    const result = () => {
      take();
      if (request.status !== 200) throw refusal(request.status, request.responseText);
      if (failure) throw failure;
      if (!last && task !== 'translations') throw new Refused(0, 'The server stopped in the middle; try again.');
      return last ?? parsed(request.responseText);
    };
    request.onload = () => {
      try {
        resolve(result());
      } catch (error) {
        reject(error);
      }
    };
    request.onerror = () => reject(new Refused(0, unreachable));
    request.onabort = () => reject(signal.reason);
    signal.addEventListener('abort', () => request.abort(), { once: true });
    request.open('POST', `v1/audio/${task}`);
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.send(form);
  });
}
