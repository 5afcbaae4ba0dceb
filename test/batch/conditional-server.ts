/** A proxy for s3rver that supports If-None-Match, as S3 does. */
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';

export class ConditionalServer {
  readonly #backendPort: number;
  readonly #server: Server;
  /** Paths of objects that are being written. */
  readonly #pending = new Set<string>();
  /** The number of conditional writes that will get a conflict. */
  conflicts = 0;
  /** The statuses of conditional writes. */
  readonly statuses: number[] = [];

  constructor(backendPort: number) {
    this.#backendPort = backendPort;
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #forward(request: IncomingMessage): Promise<IncomingMessage> {
    const { headers, url: path, method } = request;
    return new Promise((resolve, reject) => {
      const forwarded = httpRequest({ port: this.#backendPort, host: '127.0.0.1', method, path, headers }, resolve);
      request.pipe(forwarded.on('error', reject));
    });
  }

  /** Whether an object exists; the request to s3rver has no signature. */
  async #exists(path: string): Promise<boolean> {
    const { pathname } = new URL(path, 'http://localhost');
    return new Promise((resolve, reject) => {
      const settings = { port: this.#backendPort, host: '127.0.0.1', method: 'HEAD', path: pathname };
      httpRequest(settings, (response) => resolve(response.resume().statusCode === 200))
        .on('error', reject)
        .end();
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '';
    const conditional = request.method === 'PUT' && request.headers['if-none-match'] === '*';
    const refuse = (status: number, code: string) => {
      this.statuses.push(status);
      request.resume();
      const text = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`;
      response.writeHead(status, { 'content-type': 'application/xml' }).end(text);
    };
    if (conditional) {
      if (this.conflicts > 0 || this.#pending.has(path)) {
        this.conflicts = Math.max(0, this.conflicts - 1);
        refuse(409, 'ConditionalRequestConflict');
        return;
      }
      this.#pending.add(path);
      if (await this.#exists(path)) {
        this.#pending.delete(path);
        refuse(412, 'PreconditionFailed');
        return;
      }
    }
    const received = await this.#forward(request);
    if (conditional) this.statuses.push(received.statusCode ?? 0);
    response.writeHead(received.statusCode ?? 500, received.headers);
    received.pipe(response).on('close', () => this.#pending.delete(path));
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
