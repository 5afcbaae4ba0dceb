/**
 * A service of one's own that transcribes, too: OpenAI's audio API as a plugin of fastify, beside other routes.
 *
 *     npm install fastify @fastify/multipart @fastify/swagger @fastify/under-pressure @fastify/websocket prom-client
 *     node examples/server.mjs openai/whisper-small 8000
 *     OPENAI_BASE_URL=http://localhost:8000/v1 node examples/openai-client.mjs talk.mp3
 */
import fastify from 'fastify';
import { onehead } from 'onehead/server';

const [model, port = '8000'] = process.argv.slice(2);

const app = fastify({
  logger: true,
  requestTimeout: 3_600_000, // an upload may take as long as its work; one that stands still is found out
  return503OnClosing: false, // the plugin says why, as the API does
});

app.get('/', async () => ({ hello: 'Send recordings to /v1/audio/transcriptions.' }));

await app.register(onehead, {
  models: [{ id: 'speech', model }], // and no others; the bundled one where none is named
  alias: { 'gpt-4o-transcribe': 'speech' },
  page: false, // a page at / to try it with, where the service has none of its own
  maxBytes: 2 ** 30,
  maxDuration: 2 * 3600,
  // Options of transcribe that every request begins with.
  transcribe: { seed: 1 },
});

await app.listen({ port: Number(port) });
process.once('SIGTERM', () => app.close()); // takes nothing new, finishes what is under way
