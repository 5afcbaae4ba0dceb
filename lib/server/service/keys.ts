/** API keys and their limits, from a file that is reloaded when it changes. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { type Priority, priorities } from '../../engine/request.js';
import { OneheadError, reasonOf, shown } from '../../errors.js';
import { withoutByteOrderMark } from '../../json.js';
import { ApiError } from './api-error.js';

/** Milliseconds between checks whether the file has changed. */
const reloadInterval = 1000;

/** The client of a request. */
export interface Client {
  /** The name of the key, or 'anonymous' if there are no keys. Never the key itself. */
  readonly name: string;
  /** The priority of its requests, if the key file sets one. */
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

/** Enforces the limits of one key. The rate is a token bucket with a capacity of one minute's requests. */
class RateLimiter {
  limits: Limits;
  #open = 0;
  #tokens: number;
  #refilledAt: number;

  constructor(limits: Limits) {
    this.limits = limits;
    this.#tokens = limits.rate ?? 0;
    this.#refilledAt = performance.now();
  }

  open(): { close(): void; headers: Record<string, string> } {
    const { rate, concurrency } = this.limits;
    if (concurrency !== undefined && this.#open >= concurrency) {
      throw tooManyRequests(`This key has its maximum of ${concurrency} open requests; wait for one to end.`, 1);
    }
    let headers: Record<string, string> = {};
    if (rate !== undefined) {
      const now = performance.now();
      this.#tokens = Math.min(rate, this.#tokens + ((now - this.#refilledAt) / 60_000) * rate);
      this.#refilledAt = now;
      const secondsUntil = (tokens: number) => ((tokens - this.#tokens) / rate) * 60;
      if (this.#tokens < 1) {
        throw tooManyRequests(`This key may send ${rate} requests per minute; try again later.`, secondsUntil(1));
      }
      this.#tokens -= 1;
      headers = {
        'x-ratelimit-limit-requests': String(rate),
        'x-ratelimit-remaining-requests': String(Math.floor(this.#tokens)),
        'x-ratelimit-reset-requests': `${Math.ceil(secondsUntil(rate))}s`,
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

function tooManyRequests(message: string, retryAfter: number): ApiError {
  return new ApiError(429, message, { type: 'requests', code: 'rate_limit_exceeded', retryAfter });
}

const isPriority = (value: string): value is Priority => (priorities as readonly string[]).includes(value);

/** Keys are stored and compared as digests, which have equal lengths and reveal no key in a memory dump. */
const digest = (key: string): Buffer => createHash('sha256').update(key).digest();

/** The beginning of a key that is in the file as its digest. */
const hashPrefix = 'sha256:';

/** The digest in a key file; null if it is invalid. */
const storedDigest = (hexadecimal: string): Buffer | null =>
  /^[0-9a-f]{64}$/i.test(hexadecimal) ? Buffer.from(hexadecimal, 'hex') : null;

interface Entry extends Client {
  readonly digest: Buffer;
}

interface KeyLine extends Limits {
  digest: Buffer;
  name: string;
  priority?: Priority;
}

/** Parses a line; null if it has no key. Throws OneheadError INVALID_ARGUMENT, which never quotes the line. */
function readLine(text: string, number: number): KeyLine | null {
  const [key, ...settings] = text
    .replace(/(^|\s)#.*$/, '')
    .trim()
    .split(/\s+/);
  if (key === '') return null;
  const stored = key.startsWith(hashPrefix) ? storedDigest(key.slice(hashPrefix.length)) : digest(key);
  if (!stored) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `Line ${number} of the key file is invalid; a hashed key is ${hashPrefix} and the 64 hexadecimal digits of its SHA-256.`,
      { argument: 'keys' },
    );
  }
  const line: KeyLine = { digest: stored, name: `key-${number}` };
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

/** The client of all requests if there are no keys. */
const anonymous: Client = { name: 'anonymous', open: () => ({ close: () => {}, headers: {} }) };

export class Keys {
  readonly #path: string | undefined;
  readonly #onError: (error: unknown) => void;
  #entries: Entry[] = [];
  /** By name of the key, so that usage survives a reload of the file. */
  readonly #limiters = new Map<string, RateLimiter>();
  /** Changes whenever the file does. */
  #fileVersion = '';
  #timer: NodeJS.Timeout | undefined;

  /**
   * Without a path, no key is required. `onError` is called if the file is invalid after a change; then the previous
   * keys remain valid. Throws OneheadError INVALID_ARGUMENT if the file is invalid at first.
   */
  constructor(path: string | undefined, onError: (error: unknown) => void = () => {}) {
    this.#path = path;
    this.#onError = onError;
    if (path === undefined) return;
    this.#read(path);
    this.#timer = setInterval(() => void this.reloadIfChanged(), reloadInterval).unref();
  }

  /** True if requests need a key. */
  get required(): boolean {
    return this.#path !== undefined;
  }

  /** Reloads the file if it has changed. */
  async reloadIfChanged(): Promise<void> {
    if (this.#path === undefined) return;
    try {
      const { mtimeMs, size, ino } = await stat(this.#path);
      const version = `${mtimeMs} ${size} ${ino}`;
      if (version === this.#fileVersion) return;
      this.#fileVersion = version;
      this.#read(this.#path);
    } catch (error) {
      this.#onError(error);
    }
  }

  #read(path: string): void {
    let text: string;
    try {
      text = withoutByteOrderMark(readFileSync(path, 'utf8'));
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
    const entries = lines.map((line): Entry => {
      const { name, rate, concurrency, priority } = line;
      const limiter = this.#limiters.get(name) ?? new RateLimiter({ rate, concurrency });
      limiter.limits = { rate, concurrency };
      this.#limiters.set(name, limiter);
      return { name, digest: line.digest, ...(priority && { priority }), open: () => limiter.open() };
    });
    this.#entries = entries;
  }

  /** The client of an Authorization header. Throws ApiError 401 for a missing or unknown key. */
  authenticate(authorization: string | undefined): Client {
    if (!this.required) return anonymous;
    const [, key] = /^Bearer\s+(\S+)\s*$/i.exec(authorization ?? '') ?? [];
    if (key === undefined) {
      throw new ApiError(
        401,
        "You didn't provide an API key. Provide it in an Authorization header, as in Authorization: Bearer YOUR_KEY.",
      );
    }
    return this.authenticateKey(key);
  }

  /** The same for a key from elsewhere. It is compared with all keys, so that the time does not depend on the match. */
  authenticateKey(key: string): Client {
    if (!this.required) return anonymous;
    const given = digest(key);
    let client: Client | null = null;
    for (const entry of this.#entries) if (timingSafeEqual(entry.digest, given)) client = entry;
    if (!client) throw new ApiError(401, 'Incorrect API key provided.', { code: 'invalid_api_key' });
    return client;
  }

  /** The client as its key is now. Throws ApiError 401 if the key is no longer valid. */
  current(client: Client): Client {
    if (!this.required) return anonymous;
    const found = this.#entries.find((entry) => entry.digest.equals((client as Entry).digest));
    if (!found) throw new ApiError(401, 'The API key is no longer valid.', { code: 'invalid_api_key' });
    return found;
  }

  /** Stops watching the file. */
  close(): void {
    clearInterval(this.#timer);
  }
}
