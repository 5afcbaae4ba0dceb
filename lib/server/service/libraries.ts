/** The server's libraries, which are optional peers of the package: loaded only where a server is made. */
import { OneheadError } from '../../errors.js';

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
export async function library<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code !== 'ERR_MODULE_NOT_FOUND') throw cause;
    const [, missing = 'one of them'] = /Cannot find package '([^']+)'/.exec(message) ?? [];
    throw new OneheadError(
      'NOT_SUPPORTED',
      `The server stands on libraries of its own, of which ${missing} is not installed; run \`npm install ${names.join(' ')}\`.`,
      { cause },
    );
  }
}
