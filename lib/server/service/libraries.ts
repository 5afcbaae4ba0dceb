/** The server's optional peer dependencies, which are imported when a server is created. */
import { optional } from '../../optional.js';

const names = [
  'fastify',
  '@fastify/multipart',
  '@fastify/swagger',
  '@fastify/under-pressure',
  '@fastify/websocket',
  'close-with-grace',
  'pino',
  'prom-client',
];

/** Returns what `load` imports. Throws OneheadError NOT_SUPPORTED with the command to install missing packages. */
export function library<T>(load: () => Promise<T>): Promise<T> {
  return optional(
    load,
    (missing) =>
      `The server needs further packages, of which ${missing} is not installed; run \`npm install ${names.join(' ')}\`.`,
  );
}
