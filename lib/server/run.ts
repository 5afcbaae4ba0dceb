/** A server until its process is told to stop. */
import type { RunningServer } from './program.js';
import { library } from './service/libraries.js';

/** Milliseconds beyond the server's own limit after which the process ends however little is closed. */
const slack = 5000;

/**
 * Runs a server until SIGTERM, SIGINT or an error that nobody caught, closes it in order, and ends the process: with
 * status 0, or 1 where that failed. Rejects where it cannot be started.
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
