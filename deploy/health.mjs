/**
 * Docker's HEALTHCHECK: exits with status 0 unless the server in this container should be restarted (`/health`). It
 * does not ask `/ready`, since an overloaded or draining server is not to be killed. ONEHEAD_PORT is the port; https is
 * tried if the server does not speak http.
 */
import * as http from 'node:http';
import * as https from 'node:https';

const port = Number(process.env.ONEHEAD_PORT || 8000);
const timeout = 4000;

/** Resolves to the status. The certificate is not checked, since it is not for this address. */
const ask = ({ get }) =>
  new Promise((resolve, reject) => {
    const request = get({ host: '127.0.0.1', port, path: '/health', timeout, rejectUnauthorized: false });
    request.once('response', (response) => resolve(response.resume().statusCode));
    request.once('timeout', () => request.destroy(new Error(`no answer within ${timeout / 1000} s`)));
    request.once('error', reject);
  });

try {
  const status = await ask(http).catch((error) => {
    if (error.code !== 'ECONNRESET' && !error.code?.startsWith('HPE_')) throw error;
    return ask(https);
  });
  console.log(`status ${status}`);
  process.exit(status === 200 ? 0 : 1);
} catch (error) {
  console.log(error.message);
  process.exit(1);
}
