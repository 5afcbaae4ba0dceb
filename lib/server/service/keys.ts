/** Bearer keys and their limits, from a file that is reloaded when it changes. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { type Priority, priorities } from '../../engine/request.js';
import { OneheadError, reasonOf, shown } from '../../errors.js';
import { ApiError } from './api-error.js';

/** Milliseconds between checks of the file. */
const lookEvery = 1000;

/** The client of a request. */
export interface Client {
  /** The name of the key, or 'anonymous' if there are no keys. Never the key itself. */
  readonly name: string;
  /** The priority of its requests, if the file sets one. */
  readonly priority?: Priority;
  /**
   * Counts a request until the result's `close` is called. Throws ApiError 429 if the key's rate or concurrency is
   * exceeded.
   */
  open(): { close(): void; headers: Record<string, string> };
}

interface Limits {
  /** Requests per minute. */
  rate?: number;
  /** Concurrent requests. */
  concurrency?: number;
}

/** A token bucket that holds one minute's requests. */
class Counter {
  limits: Limits;
  #open = 0;
  #left: number;
  #since: number;

  constructor(limits: Limits) {
    this.limits = limits;
    this.#left = limits.rate ?? 0;
    this.#since = performance.now();
  }

  open(): { close(): void; headers: Record<string, string> } {
    const { rate, concurrency } = this.limits;
    if (concurrency !== undefined && this.#open >= concurrency) {
      throw tooMany(`This key has ${concurrency} open requests, its maximum; wait for one to end.`, 1);
    }
    let headers: Record<string, string> = {};
    if (rate !== undefined) {
      const now = performance.now();
      this.#left = Math.min(rate, this.#left + ((now - this.#since) / 60_000) * rate);
      this.#since = now;
      const until = (left: number) => ((left - this.#left) / rate) * 60;
      if (this.#left < 1) throw tooMany(`This key may send ${rate} requests per minute; try again later.`, until(1));
      this.#left -= 1;
      headers = {
        'x-ratelimit-limit-requests': String(rate),
        'x-ratelimit-remaining-requests': String(Math.floor(this.#left)),
        'x-ratelimit-reset-requests': `${Math.ceil(until(rate))}s`,
      };
    }
    this.#open += 1;
    let open = true;
    const close = () => {
      if (open) this.#open -= 1;
      open = false;
    };
    return { close, headers };
  }
}

function tooMany(message: string, retryAfter: number): ApiError {
  return new ApiError(429, message, { type: 'requests', code: 'rate_limit_exceeded', retryAfter });
}

const isPriority = (value: string): value is Priority => (priorities as readonly string[]).includes(value);

/** Keys are stored and compared as digests: of equal length, and not readable in a memory dump. */
const digest = (key: string): Buffer => createHash('sha256').update(key).digest();

interface Entry extends Client {
  readonly digest: Buffer;
}

interface Line extends Limits {
  digest: Buffer;
  name: string;
  priority?: Priority;
}

/** Throws OneheadError INVALID_ARGUMENT with the line's number; it never quotes the line. */
function readLine(text: string, number: number): Line | null {
  const [key, ...settings] = text
    .replace(/(^|\s)#.*$/, '')
    .trim()
    .split(/\s+/);
  if (key === '') return null;
  const line: Line = { digest: digest(key), name: `key-${number}` };
  for (const setting of settings) {
    const [, name, value] = /^(name|rate|concurrency|priority)=(.+)$/.exec(setting) ?? [];
    const count = /^[1-9]\d{0,8}$/.test(value ?? '') ? Number(value) : null;
    if (name === 'name' && /^[\w.@-]{1,64}$/.test(value)) line.name = value;
    else if (name === 'priority' && isPriority(value)) line.priority = value;
    else if ((name === 'rate' || name === 'concurrency') && count !== null) line[name] = count;
    else {
      throw new OneheadError(
        'INVALID_ARGUMENT',
        `Line ${number} of the key file is invalid; write KEY name=NAME rate=REQUESTS_A_MINUTE concurrency=N priority=CLASS, separated by spaces.`,
        { argument: 'keys' },
      );
    }
  }
  return line;
}

const anonymous: Client = { name: 'anonymous', open: () => ({ close: () => {}, headers: {} }) };

export class Keys {
  readonly #path: string | undefined;
  readonly #onError: (error: unknown) => void;
  #entries: Entry[] = [];
  /** Counters by name, so that usage survives a reload of the file. */
  readonly #counters = new Map<string, Counter>();
  #stamp = '';
  #timer: NodeJS.Timeout | undefined;

  /**
   * Without a path, everybody may use the server. `onError` is called if a changed file is invalid; the previous keys
   * stay in force. Throws OneheadError INVALID_ARGUMENT if the file is invalid now.
   */
  constructor(path: string | undefined, onError: (error: unknown) => void = () => {}) {
    this.#path = path;
    this.#onError = onError;
    if (path === undefined) return;
    this.#read(path);
    this.#timer = setInterval(() => void this.look(), lookEvery).unref();
  }

  /** True if a key is needed. */
  get needed(): boolean {
    return this.#path !== undefined;
  }

  /** Reloads the file if it has changed. */
  async look(): Promise<void> {
    if (this.#path === undefined) return;
    try {
      const { mtimeMs, size, ino } = await stat(this.#path);
      const stamp = `${mtimeMs} ${size} ${ino}`;
      if (stamp === this.#stamp) return;
      this.#stamp = stamp;
      this.#read(this.#path);
    } catch (error) {
      this.#onError(error);
    }
  }

  #read(path: string): void {
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (cause) {
      throw new OneheadError('INVALID_ARGUMENT', `The key file ${shown(path)} cannot be read: ${reasonOf(cause)}.`, {
        argument: 'keys',
        cause,
      });
    }
    const lines = text.split('\n').flatMap((line, index) => readLine(line, index + 1) ?? []);
    if (lines.length === 0) {
      throw new OneheadError('INVALID_ARGUMENT', `The key file ${shown(path)} has no key; write one on each line.`, {
        argument: 'keys',
      });
    }
    const entries = lines.map(({ digest: own, name, rate, concurrency, priority }): Entry => {
      const counter = this.#counters.get(name) ?? new Counter({ rate, concurrency });
      counter.limits = { rate, concurrency };
      this.#counters.set(name, counter);
      return { name, digest: own, ...(priority && { priority }), open: () => counter.open() };
    });
    this.#entries = entries;
  }

  /** The client of an Authorization header. All keys are compared, in constant time. Throws ApiError 401. */
  authenticate(authorization: string | undefined): Client {
    if (!this.needed) return anonymous;
    const [, key] = /^Bearer\s+(\S+)\s*$/i.exec(authorization ?? '') ?? [];
    if (key === undefined) {
      throw new ApiError(
        401,
        "You didn't provide an API key. Provide it in an Authorization header, as in Authorization: Bearer YOUR_KEY.",
      );
    }
    return this.authenticateKey(key);
  }

  /** The same for a key that a protocol sends elsewhere. */
  authenticateKey(key: string): Client {
    if (!this.needed) return anonymous;
    const given = digest(key);
    let found: Client | null = null;
    for (const entry of this.#entries) if (timingSafeEqual(entry.digest, given)) found = entry;
    if (!found) throw new ApiError(401, 'Incorrect API key provided.', { code: 'invalid_api_key' });
    return found;
  }

  /** Stops watching the file. */
  close(): void {
    clearInterval(this.#timer);
  }
}
