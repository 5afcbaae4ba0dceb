/**
 * Secrets that a service gets for its browsers: each opens sessions for a while, in the name of the key that asked for
 * it.
 */
import { createHash, randomBytes } from 'node:crypto';
import { ApiError } from '../service/api-error.js';
import type { Client } from '../service/keys.js';
import type { SessionConfig } from './session-config.js';

/** Secrets that are valid at once, at most: no client can fill the memory. */
const most = 10_000;
const [least, usual, longest] = [10, 600, 7200];

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

  /** Makes a secret. Throws ApiError. */
  create(
    client: Client,
    config: SessionConfig,
    { anchor = 'created_at', seconds = usual }: { anchor?: unknown; seconds?: unknown },
  ): { value: string; expires_at: number } {
    const fits = typeof seconds === 'number' && seconds >= least && seconds <= longest;
    if (anchor !== 'created_at' || !fits) {
      throw new ApiError(
        400,
        `Expected expires_after to be { anchor: 'created_at', seconds } with seconds from ${least} to ${longest}.`,
        { param: 'expires_after', code: 'invalid_value' },
      );
    }
    const now = Math.floor(Date.now() / 1000);
    for (const [name, entry] of this.#entries) {
      if (entry.expiresAt <= now || this.#entries.size >= most) this.#entries.delete(name);
    }
    const value = `ek_${randomBytes(24).toString('hex')}`;
    const expiresAt = now + Math.floor(seconds as number);
    this.#entries.set(digest(value), { client, config, expiresAt });
    return { value, expires_at: expiresAt };
  }

  /**
   * Whose a secret is, and what it was made for; null for any other text. Throws ApiError 401 for one that is none or
   * is old.
   */
  find(value: string): Pick<Entry, 'client' | 'config'> | null {
    if (!value.startsWith('ek_')) return null;
    const entry = this.#entries.get(digest(value));
    if (entry && entry.expiresAt > Date.now() / 1000) return entry;
    throw new ApiError(401, 'This client secret is not valid, or no longer; ask for another.', {
      code: 'invalid_api_key',
    });
  }
}
