/** Closes connections that would delay a shutdown: Node.js closes only those that wait for a further request. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';

/** The event of a server's new connections: over TLS, those whose handshake has finished. */
export const connected = (server: object): 'secureConnection' | 'connection' =>
  server instanceof TlsServer ? 'secureConnection' : 'connection';

/** Over TLS, `_parent` is the socket of the encrypted bytes. */
type TlsSocket = Socket & { _parent?: Socket | null };

export class Connections {
  /** The number of responses that are being sent on each connection. */
  readonly #responses = new Map<Socket, number>();
  /** Connections whose TLS handshake has not finished. The server knows nothing else of them. */
  readonly #handshakes = new Set<Socket>();
  #closing = false;

  constructor(server: Server | TlsServer) {
    if (server instanceof TlsServer) {
      server.on('connection', (socket: Socket) => {
        this.#handshakes.add(socket);
        socket.once('close', () => this.#handshakes.delete(socket));
      });
      // Nothing can be sent on such a connection, so a response to the error would keep it open.
      server.on('tlsClientError', (_, socket) => socket.destroy());
    }
    server.on(connected(server), (socket: TlsSocket) => {
      if (socket._parent) this.#handshakes.delete(socket._parent);
      if (this.#responses.has(socket)) return;
      this.#responses.set(socket, 0);
      socket.once('close', () => this.#responses.delete(socket));
    });
    server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
      this.#add(socket, 1);
      response.once('close', () => this.#add(socket, -1));
    });
  }

  #add(socket: Socket, responses: number): void {
    const before = this.#responses.get(socket);
    if (before === undefined) return; // it is closed
    this.#responses.set(socket, before + responses);
    if (this.#closing && before + responses === 0) socket.destroy();
  }

  /**
   * Closes connections on which no response is being sent, now or as soon as it is: those whose clients have sent
   * nothing yet, not even a TLS handshake, and those of refused uploads that still arrive.
   */
  closeUnused(): void {
    this.#closing = true;
    for (const socket of this.#handshakes) socket.destroy();
    for (const [socket, responses] of this.#responses) if (responses === 0) socket.destroy();
  }
}
