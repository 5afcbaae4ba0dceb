/**
 * Temporary secrets for browsers: until it expires, each opens sessions on behalf of the key that requested it, as long
 * as that key is valid.
 */
import { createHash, randomBytes } from 'node:crypto';
import { ApiError, refuseField } from '../service/api-error.js';
import type { Client, Keys } from '../service/keys.js';
import type { SessionConfig } from './session-config.js';

/** Maximum number of unexpired secrets of a key, which bounds memory. */
const maxSecrets = 10_000;
/** Lifetimes in seconds. */
const [minLifetime, defaultLifetime, maxLifetime] = [10, 600, 7200];

interface Entry {
  client: Client;
  config: SessionConfig;
  /** Seconds since 1970. */
  expiresAt: number;
}

const digest = (value: string): string => createHash('sha256').update(value).digest('hex');

export class Secrets {
  /** Secrets by their digests, in order of creation. */
  readonly #entries = new Map<string, Entry>();
  readonly #keys: Keys;

  constructor(keys: Keys) {
    this.#keys = keys;
  }

  /**
   * Creates a secret. Throws ApiError 400, or 429 if the client's key has its maximum. Without keys, all clients are
   * one, so the oldest secret ends instead: else a single client could keep the others out.
   */
  create(
    client: Client,
    config: SessionConfig,
    { anchor = 'created_at', seconds = defaultLifetime }: { anchor?: unknown; seconds?: unknown },
  ): { value: string; expires_at: number } {
    if (anchor !== 'created_at') refuseField('expires_after.anchor', "'created_at'", anchor);
    if (!(typeof seconds === 'number' && seconds >= minLifetime && seconds <= maxLifetime)) {
      refuseField('expires_after.seconds', `a number from ${minLifetime} to ${maxLifetime}`, seconds);
    }
    const now = Math.floor(Date.now() / 1000);
    let own = 0;
    let oldest: string | null = null;
    for (const [key, entry] of this.#entries) {
      if (entry.expiresAt <= now) this.#entries.delete(key);
      else if (entry.client.name === client.name) {
        oldest ??= key;
        own += 1;
      }
    }
    if (own >= maxSecrets && !this.#keys.required) this.#entries.delete(oldest!);
    else if (own >= maxSecrets) {
      throw new ApiError(
        429,
        `This key has its maximum of ${maxSecrets} client secrets; request shorter ones, or wait for some to expire.`,
        { type: 'requests', code: 'rate_limit_exceeded', retryAfter: 60 },
      );
    }
    const value = `ek_${randomBytes(24).toString('hex')}`;
    const expiresAt = now + Math.floor(seconds as number);
    this.#entries.set(digest(value), { client, config, expiresAt });
    return { value, expires_at: expiresAt };
  }

  /**
   * The client and session of a secret; null for other keys. Throws ApiError 401 if it is invalid or expired, or if its
   * key is no longer valid.
   */
  find(value: string): Pick<Entry, 'client' | 'config'> | null {
    if (!value.startsWith('ek_')) return null;
    const entry = this.#entries.get(digest(value));
    if (entry && entry.expiresAt > Date.now() / 1000) {
      return { client: this.#keys.current(entry.client), config: entry.config };
    }
    throw new ApiError(401, 'This client secret is invalid or has expired; request another one.', {
      code: 'invalid_api_key',
    });
  }
}
