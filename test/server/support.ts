/** A server on loopback with the bundled model, and OpenAI's client for it. */
import { fileURLToPath } from 'node:url';
import OpenAI from 'openai';
import { onTestFinished } from 'vitest';
import { type ListenOptions, type RunningServer, type ServerOptions, serve } from '../../lib/server/index.js';

export const root = fileURLToPath(new URL('../../', import.meta.url));
export const micro = `${root}models/micro`;
export const sample = `${micro}/sample.flac`;
export const sampleText =
  'We will return on Thursday. Add honey and chicken to the shopping list. Move left forty five meters.';

/** Starts a server on a free port, without a log. The caller closes it. */
export function startServer(options: ServerOptions = {}, listen: ListenOptions = {}): Promise<RunningServer> {
  return serve(
    { models: [micro], load: { device: 'cpu', threads: 2 }, shutdownTimeout: 5000, ...options },
    { port: 0, logLevel: 'silent', ...listen },
  );
}

/** The same for one test. */
export async function testServer(options: ServerOptions = {}, listen: ListenOptions = {}): Promise<RunningServer> {
  const server = await startServer(options, listen);
  onTestFinished(() => server.close());
  return server;
}

export function clientOf(server: RunningServer, options: ConstructorParameters<typeof OpenAI>[0] = {}): OpenAI {
  return new OpenAI({ apiKey: 'none', baseURL: `${server.url}/v1`, maxRetries: 0, ...options });
}
