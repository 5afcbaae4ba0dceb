/** Runs a server until its process is stopped. */
import type { RunningServer } from './program.js';
import { library } from './service/libraries.js';

/** Milliseconds after `shutdownTimeout` until the process exits even if connections are open. */
const exitGrace = 5000;

/**
 * Runs a server until SIGTERM, SIGINT or an uncaught error, shuts it down and exits: with status 0, or 1 if shutdown
 * fails. SIGUSR2 makes it drain (`Service.draining`), and ends that if sent again. `shutdownTimeout` is in
 * milliseconds. Rejects if the server cannot be started.
 */
export async function run(start: () => Promise<RunningServer>, shutdownTimeout: number): Promise<never> {
  const { default: closeWithGrace } = await library(() => import('close-with-grace'));
  let server: RunningServer | null = null;
  const grace = closeWithGrace({ delay: shutdownTimeout + exitGrace, skip: ['SIGUSR2'] }, async ({ err, signal }) => {
    if (err) server?.app.log.fatal({ err }, 'shutting down after an uncaught error');
    else server?.app.log.info({ signal }, 'shutting down');
    await server?.close();
  });
  process.on('SIGUSR2', () => {
    if (!server) return;
    server.service.draining = !server.service.draining;
    server.app.log.info({ draining: server.service.draining }, 'SIGUSR2');
  });
  try {
    server = await start();
  } catch (error) {
    grace.uninstall();
    throw error;
  }
  return new Promise(() => {}); // never settles: closeWithGrace exits the process
}
