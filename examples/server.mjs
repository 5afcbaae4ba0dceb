/**
 * Adds OpenAI's audio API to a fastify server, next to other routes.
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
  requestTimeout: 3_600_000, // uploads may take long; the plugin ends those that stall
  return503OnClosing: false, // the plugin responds in the API's error format
});

app.get('/', async () => ({ hello: 'Send recordings to /v1/audio/transcriptions.' }));

await app.register(onehead, {
  models: [{ id: 'speech', model }], // only these; without any, the bundled model
  alias: { 'gpt-4o-transcribe': 'speech' },
  page: false, // the service has its own page at /
  maxBytes: 2 ** 30,
  maxDuration: 2 * 3600,
  // Default options of transcribe for every request.
  transcribe: { seed: 1 },
});

await app.listen({ port: Number(port) });
process.once('SIGTERM', () => app.close()); // finishes open requests and accepts no new ones
