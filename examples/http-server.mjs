/**
 * Speech to text over HTTP: a recording in any format comes as the body of a POST, and JSON goes back.
 *
 *     node examples/http-server.mjs openai/whisper-small 8080
 *     curl --data-binary @talk.mp3 'http://localhost:8080/?language=en'
 */
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { OneheadError, Whisper } from 'onehead';

/** What is not in this list is no fault of the client's. */
const statuses = {
  AUDIO_INVALID: 422,
  AUDIO_TOO_LARGE: 413,
  AUDIO_TOO_LONG: 413,
  INVALID_ARGUMENT: 400,
  BUSY: 503,
  TIMED_OUT: 503,
};

/** Whatever else a request may cost. */
const limits = { maxBytes: 2 ** 30, maxDuration: 4 * 3600, timeout: 3_600_000 };

/** Milliseconds for which the rest of an upload is taken from a client that has its answer already. */
const patience = 30_000;

function answer(request, response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
  if (request.complete) return;
  // A recording may be refused before all of it came. A client that is still sending would take a closed connection for a failure.
  request.resume();
  setTimeout(() => request.complete || request.destroy(), patience).unref();
}

/** `options` are those of transcribe, for every request: limits above all. */
export function transcriptionServer(whisper, options = {}) {
  // An upload is read as fast as it is transcribed, which may take longer than Node's usual five minutes.
  return createServer({ requestTimeout: 0 }, async (request, response) => {
    if (request.method !== 'POST') {
      answer(request, response, 405, { error: 'Send a recording as the body of a POST.' });
      return;
    }
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const language = new URL(request.url, 'http://localhost').searchParams.get('language') ?? undefined;
    try {
      const result = await whisper.transcribe(request, { ...options, language, signal: gone.signal });
      answer(request, response, 200, result);
    } catch (error) {
      if (gone.signal.aborted) return; // nobody is there to be told
      if (!(error instanceof OneheadError)) console.error(error);
      const status = statuses[error.code] ?? 500;
      const message = error instanceof OneheadError ? error.message : 'The transcription failed.';
      if (error.retryAfter) response.setHeader('retry-after', Math.ceil(error.retryAfter));
      answer(request, response, status, { error: message });
    }
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [model, port = '8080'] = process.argv.slice(2);
  const whisper = await Whisper.load(model);
  transcriptionServer(whisper, limits).listen(Number(port), () => {
    console.log(`Listening on http://localhost:${port}`);
  });
}
