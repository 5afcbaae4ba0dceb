/**
 * Requests for an upgrade to another protocol than WebSocket, which a server may ignore (RFC 9110, section 7.8). Java's
 * HttpClient sends one to HTTP/2 (h2c) with every first request of a connection, curl with --http2. Node.js hands all
 * upgrades to the WebSocket server, without their bodies, as soon as there is one.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { connected } from './connections.js';

type UpgradeListener = (request: IncomingMessage, socket: Socket, head: Buffer) => void;

const tokensOf = (header: string): string[] => header.split(/\s*,\s*/).filter(Boolean);

const isWebSocket = ({ headers: { upgrade = '' } }: IncomingMessage): boolean =>
  tokensOf(upgrade).some((protocol) => protocol.toLowerCase() === 'websocket');

/** The request's head as it was sent, without what asks for the upgrade. */
function headWithoutUpgrade({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const lines = [`${method} ${url} HTTP/${httpVersion}`];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const [name, value] = [rawHeaders[i], rawHeaders[i + 1]];
    const key = name.toLowerCase();
    if (key === 'upgrade' || key === 'http2-settings') continue;
    const kept = tokensOf(value).filter((token) => !/^(upgrade|http2-settings)$/i.test(token));
    if (key !== 'connection') lines.push(`${name}: ${value}`);
    else if (kept.length > 0) lines.push(`${name}: ${kept.join(', ')}`);
  }
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

/** The response that is being sent on a connection. */
const responseOn = (socket: Socket & { _httpMessage?: ServerResponse | null }) => socket._httpMessage ?? null;

/**
 * Closes the connection of an answered request for a WebSocket where there is none: Node.js no longer looks after it.
 * Does nothing for other requests.
 */
export function closeUpgrade({ headers, socket }: IncomingMessage): void {
  if (headers.upgrade !== undefined) socket.destroySoon?.(); // the socket of fastify's inject() has no such method
}

/**
 * Answers such requests as if they did not ask for an upgrade. Call this once the WebSocket server listens. Does
 * nothing if something else listens to upgrades too, which may want them.
 */
export function ignoreOtherUpgrades({ server }: FastifyInstance): void {
  const [listener, ...others] = server.listeners('upgrade') as UpgradeListener[];
  if (listener === undefined || others.length > 0) return;
  const onUpgrade: UpgradeListener = (request, socket, head) => {
    if (isWebSocket(request)) {
      listener.call(server, request, socket, head);
      return;
    }
    // The connection begins anew, with the request's head and what has arrived behind it: once earlier requests of the
    // same connection are answered.
    const begin = () => {
      if (socket.destroyed) return;
      const earlier = responseOn(socket);
      if (earlier !== null) {
        earlier.once('close', begin);
        return;
      }
      socket.setTimeout(0); // the limit for idle connections, which the earlier response has set
      socket.unshift(Buffer.concat([headWithoutUpgrade(request), head]));
      server.emit(connected(server), socket);
    };
    begin();
  };
  server.removeListener('upgrade', listener);
  // `removeListener` also finds a listener by this property, so the WebSocket server can still remove its own.
  server.on('upgrade', Object.assign(onUpgrade, { listener }));
}
