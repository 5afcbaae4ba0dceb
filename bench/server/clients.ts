/** HTTP clients for the load: most wait for the response, some abort or send invalid requests, one uploads slowly. */
import { Agent, type ClientRequest, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { randomNumbers } from '../../test/random.js';

export interface Clip {
  bytes: Buffer;
  /** Seconds. */
  duration: number;
  /** The text that a server without load returns; '' if it is not compared. */
  text: string;
}

export interface Answer {
  status: number;
  body: string;
}

const boundary = 'onehead-bench';

/** Encodes a multipart form with these fields and a file. */
export function form(fields: Record<string, string>, file: Buffer, name = 'clip.flac'): Buffer {
  const parts = Object.entries(fields).map(
    ([field, value]) => `--${boundary}\r\ncontent-disposition: form-data; name="${field}"\r\n\r\n${value}\r\n`,
  );
  const head = `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="${name}"\r\n\r\n`;
  return Buffer.concat([Buffer.from(parts.join('') + head), file, Buffer.from(`\r\n--${boundary}--\r\n`)]);
}

/** Sends a form. Rejects unless a complete response arrives. `onRequest` gets the request, which can be destroyed. */
export function post(
  url: string,
  body: Buffer,
  agent: Agent,
  onRequest: (sent: ClientRequest) => void = () => {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': `multipart/form-data; boundary=${boundary}`, 'content-length': body.length };
    const sent = request(url, { method: 'POST', agent, headers }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () => {
        if (response.complete) resolve({ status: response.statusCode!, body: Buffer.concat(parts).toString() });
        else reject(new Error('the response is incomplete'));
      });
      response.on('error', reject);
    });
    sent.on('error', reject);
    onRequest(sent);
    sent.end(body);
  });
}

export interface Counted {
  /** Requests with the correct response. */
  answered: number;
  /** Requests that were refused because of the load (503, 429). */
  refused: number;
  /** Requests that the client aborted. */
  aborted: number;
  /** Invalid requests that were refused with a 4xx status. */
  invalid: number;
  /** A description of each request without response or with a wrong one. */
  wrong: string[];
  /** Seconds of audio in the answered requests. */
  audio: number;
  /** Milliseconds of each answered request. */
  times: number[];
  elapsed: number;
}

export interface Load {
  url: string;
  fields: Record<string, string>;
  clips: readonly Clip[];
  clients: number;
  /** The share of requests that are aborted, and of those that are invalid. */
  faultRate: number;
  /** Ends after this number of answered requests, or this time. */
  until: { requests?: number; milliseconds?: number };
  /** Called after each answer. */
  onAnswer?: (answered: number) => void;
}

const noRequests = (): Counted => ({
  answered: 0,
  refused: 0,
  aborted: 0,
  invalid: 0,
  wrong: [],
  audio: 0,
  times: [],
  elapsed: 0,
});

/** Sends requests of a load, and counts the responses. */
class Clients {
  readonly counted = noRequests();
  readonly #load: Load;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  readonly #random: () => number;
  readonly #started = performance.now();

  constructor(load: Load) {
    this.#load = load;
    this.#random = randomNumbers(load.clients);
  }

  get #isRunning(): boolean {
    const { requests = Number.POSITIVE_INFINITY, milliseconds = Number.POSITIVE_INFINITY } = this.#load.until;
    return this.counted.answered < requests && performance.now() - this.#started < milliseconds;
  }

  /** Runs all clients to the end of the load. */
  async run(): Promise<Counted> {
    const client = async () => {
      const { clips, faultRate } = this.#load;
      while (this.#isRunning) {
        const clip = clips[Math.floor(this.#random() * clips.length)];
        const draw = this.#random();
        if (draw < faultRate) await this.#sendAndAbort(clip);
        else if (draw < 2 * faultRate) await this.#sendInvalid(clip);
        else await this.#send(clip);
      }
    };
    await Promise.all(Array.from({ length: this.#load.clients }, client));
    this.counted.elapsed = performance.now() - this.#started;
    this.#agent.destroy();
    return this.counted;
  }

  #post(body: Buffer, onRequest?: (sent: ClientRequest) => void): Promise<Answer | Error> {
    return post(this.#load.url, body, this.#agent, onRequest).catch((error: Error) => error);
  }

  #form(file: Buffer, more: Record<string, string> = {}): Buffer {
    return form({ ...this.#load.fields, ...more }, file);
  }

  async #sendAndAbort(clip: Clip): Promise<void> {
    let sent: ClientRequest | undefined;
    const answer = this.#post(this.#form(clip.bytes), (request) => {
      sent = request;
    });
    await sleep(this.#random() * 60);
    sent?.destroy();
    await answer;
    this.counted.aborted += 1;
  }

  async #sendInvalid(clip: Clip): Promise<void> {
    const bodies = [
      () => this.#form(Buffer.from('This is no recording.')),
      () => this.#form(clip.bytes, { response_format: 'poetry' }),
      () => this.#form(clip.bytes).subarray(0, 300),
      () => Buffer.from('no form at all'),
    ];
    const kind = Math.floor(this.#random() * bodies.length);
    const answer = await this.#post(bodies[kind]());
    if (answer instanceof Error) this.counted.wrong.push(`invalid request ${kind}: ${answer.message}`);
    else if (answer.status >= 400 && answer.status < 500) this.counted.invalid += 1;
    else if (answer.status === 503) this.counted.refused += 1;
    else this.counted.wrong.push(`invalid request ${kind}: ${answer.status}`);
  }

  async #send(clip: Clip): Promise<void> {
    const { counted } = this;
    const started = performance.now();
    const answer = await this.#post(this.#form(clip.bytes));
    if (answer instanceof Error) counted.wrong.push(answer.message);
    else if (answer.status === 503 || answer.status === 429) {
      counted.refused += 1;
      await sleep(200);
    } else if (answer.status !== 200) counted.wrong.push(`${answer.status} ${answer.body.slice(0, 100)}`);
    else if (clip.text !== '' && answer.body.trim() !== clip.text) {
      counted.wrong.push(`'${answer.body.trim().slice(0, 60)}' instead of '${clip.text.slice(0, 60)}'`);
    } else {
      counted.answered += 1;
      counted.audio += clip.duration;
      counted.times.push(performance.now() - started);
      this.#load.onAnswer?.(counted.answered);
    }
  }
}

/** Runs clients that each send the next request when they have the response to the previous one. */
export const closedLoop = (load: Load): Promise<Counted> => new Clients(load).run();

/** Uploads a body slowly until it is stopped. `stop` returns the response's status, or null if there was none. */
export function uploadSlowly(url: string, body: Buffer, bytesPerSecond: number) {
  const agent = new Agent();
  const headers = { 'content-type': `multipart/form-data; boundary=${boundary}`, 'content-length': body.length };
  let status: number | null = null;
  const sent = request(url, { method: 'POST', agent, headers }, (response) => {
    status = response.statusCode ?? null;
    response.resume();
  });
  sent.on('error', () => {});
  let position = 0;
  const timer = setInterval(() => {
    sent.write(body.subarray(position, position + bytesPerSecond / 10));
    position += bytesPerSecond / 10;
    if (position >= body.length) {
      clearInterval(timer);
      sent.end();
    }
  }, 100);
  return {
    stop() {
      clearInterval(timer);
      sent.destroy();
      return status;
    },
  };
}

export function percentile(times: readonly number[], share: number): number {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
