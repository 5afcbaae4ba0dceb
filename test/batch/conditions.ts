/** A proxy for s3rver that supports If-None-Match, as S3 does. */
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export class ConditionalServer {
  readonly #behind: number;
  readonly #server: Server;
  /** Paths of objects that are being written. */
  readonly #written = new Set<string>();
  /** The number of conditional writes that will get a conflict. */
  conflicts = 0;
  /** The statuses of conditional writes. */
  readonly answers: number[] = [];

  constructor(behind: number) {
    this.#behind = behind;
    this.#server = createServer((question, answer) => void this.#serve(question, answer));
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #ask(question: IncomingMessage): Promise<IncomingMessage> {
    const { headers, url: path, method } = question;
    return new Promise((resolve, reject) => {
      const asked = request({ port: this.#behind, host: '127.0.0.1', method, path, headers }, resolve);
      question.pipe(asked.on('error', reject));
    });
  }

  /** Whether an object exists; the request to s3rver has no signature. */
  async #exists(path: string): Promise<boolean> {
    const { pathname } = new URL(path, 'http://localhost');
    return new Promise((resolve, reject) => {
      const settings = { port: this.#behind, host: '127.0.0.1', method: 'HEAD', path: pathname };
      request(settings, (answer) => resolve(answer.resume().statusCode === 200))
        .on('error', reject)
        .end();
    });
  }

  async #serve(question: IncomingMessage, answer: ServerResponse): Promise<void> {
    const path = question.url ?? '';
    const conditional = question.method === 'PUT' && question.headers['if-none-match'] === '*';
    const refuse = (status: number, code: string) => {
      this.answers.push(status);
      question.resume();
      const text = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`;
      answer.writeHead(status, { 'content-type': 'application/xml' }).end(text);
    };
    if (conditional) {
      if (this.conflicts > 0 || this.#written.has(path)) {
        this.conflicts = Math.max(0, this.conflicts - 1);
        refuse(409, 'ConditionalRequestConflict');
        return;
      }
      this.#written.add(path);
      if (await this.#exists(path)) {
        this.#written.delete(path);
        refuse(412, 'PreconditionFailed');
        return;
      }
    }
    const given = await this.#ask(question);
    if (conditional) this.answers.push(given.statusCode ?? 0);
    answer.writeHead(given.statusCode ?? 500, given.headers);
    given.pipe(answer).on('close', () => this.#written.delete(path));
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
