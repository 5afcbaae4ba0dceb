/** The server's libraries, which are optional peers of the package: loaded only where a server is made. */
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

/** Gives what `load` imports. Throws OneheadError NOT_SUPPORTED with what to install where it is missing. */
export function library<T>(load: () => Promise<T>): Promise<T> {
  return optional(
    load,
    (missing) =>
      `The server stands on libraries of its own, of which ${missing} is not installed; run \`npm install ${names.join(' ')}\`.`,
  );
}
