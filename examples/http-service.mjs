/**
 * A service with only Node.js that responds to recordings with text and segments. A request's body is decoded during
 * the upload.
 *
 *     node examples/http-service.mjs
 *     curl --data-binary @talk.mp3 http://localhost:8080
 */
import { createServer } from 'node:http';
import { OneheadError, Whisper } from 'onehead';

const whisper = await Whisper.load('openai/whisper-small'); // on a GPU if there is one, otherwise on the CPU

const server = createServer(async (request, response) => {
  try {
    const { text, segments } = await whisper.transcribe(request, { language: 'en', timeout: 600_000 });
    response.end(JSON.stringify({ text, segments })); // start, end, tokens, avg_logprob, no_speech_prob, ...
  } catch (error) {
    response.statusCode = error instanceof OneheadError && error.code === 'BUSY' ? 503 : 400;
    response.end(String(error));
  }
});
server.listen(Number(process.env.PORT ?? 8080), () => console.log('listening', server.address()));
