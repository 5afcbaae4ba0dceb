/** Runs a server until its process is stopped. */
import type { RunningServer } from './program.js';
import { library } from './service/libraries.js';

/** Milliseconds beyond the server's own limit after which the process exits even if connections are open. */
const slack = 5000;

/**
 * Runs a server until SIGTERM, SIGINT or an uncaught error, shuts it down and exits: with status 0, or 1 if shutting
 * down failed. Rejects if the server cannot be started.
 */
export async function run(start: () => Promise<RunningServer>, shutdownTimeout: number): Promise<never> {
  const { default: closeWithGrace } = await library(() => import('close-with-grace'));
  let server: RunningServer | null = null;
  const grace = closeWithGrace({ delay: shutdownTimeout * 1000 + slack }, async ({ err, signal }) => {
    if (err) server?.app.log.fatal({ err }, 'ended by an error');
    else server?.app.log.info({ signal }, 'shutting down');
    await server?.close();
  });
  try {
    server = await start();
  } catch (error) {
    grace.uninstall();
    throw error;
  }
  return new Promise(() => {}); // what ends the process is above
}
