/**
 * A service with only Node.js that responds to recordings with text and segments. A request's body is decoded during
 * the upload.
 *
 *     node examples/http-service.mjs
 *     curl --data-binary @talk.mp3 http://localhost:8080
 */
import { createServer } from 'node:http';
import { httpStatus, OneheadError, Whisper } from 'onehead';

const whisper = await Whisper.load('openai/whisper-small'); // on a GPU if there is one, otherwise on the CPU

const server = createServer(async (request, response) => {
  const gone = new AbortController();
  response.once('close', () => gone.abort()); // a client that leaves is not transcribed to the end
  try {
    const options = { language: 'en', timeout: 600_000, signal: gone.signal };
    const { text, segments } = await whisper.transcribe(request, options);
    response.end(JSON.stringify({ text, segments })); // start, end, tokens, avg_logprob, no_speech_prob, ...
  } catch (error) {
    if (gone.signal.aborted) return;
    response.statusCode = httpStatus(error); // 400 or 413: refused, 503: busy, 504: too late, 500: a defect
    if (error instanceof OneheadError && error.retryAfter !== undefined) {
      response.setHeader('retry-after', Math.ceil(error.retryAfter));
    }
    if (response.statusCode >= 500) console.error(error);
    response.end(response.statusCode < 500 ? String(error) : 'The server cannot answer now; try again later.');
  }
});
server.listen(Number(process.env.PORT ?? 8080), () => console.log('listening', server.address()));
