/** Client secrets: they end with their key, and one key's do not affect another's. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Secrets } from '../../lib/server/realtime/secrets.js';
import type { SessionConfig } from '../../lib/server/realtime/session-config.js';
import { Keys } from '../../lib/server/service/keys.js';
import { testServer } from './support.js';

const config = { logprobs: false } as SessionConfig;

async function keysFile(text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'onehead-test-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, 'keys');
  await writeFile(path, text);
  return path;
}

async function secretsOf(text: string) {
  const path = await keysFile(text);
  const keys = new Keys(path);
  onTestFinished(() => keys.close());
  return { path, keys, secrets: new Secrets(keys) };
}

describe('client secrets', () => {
  it('end when their key is removed from the file, and follow its limits', async () => {
    const { path, keys, secrets } = await secretsOf('one name=anna\ntwo\n');
    const { value } = secrets.create(keys.authenticateKey('one'), config, {});
    expect(secrets.find(value)!.client.name).toBe('anna');
    await writeFile(path, 'one name=anna priority=batch\ntwo # kept\n');
    await keys.reloadIfChanged();
    expect(secrets.find(value)!.client.priority).toBe('batch');
    await writeFile(path, 'two # the only one left\n');
    await keys.reloadIfChanged();
    expect(() => secrets.find(value)).toThrow(expect.objectContaining({ status: 401, code: 'invalid_api_key' }));
  });

  it('are limited for each key, and do not end those of others', async () => {
    const { keys, secrets } = await secretsOf('one name=anna\ntwo name=bob\n');
    const { value } = secrets.create(keys.authenticateKey('one'), config, { seconds: 7200 });
    const bob = keys.authenticateKey('two');
    for (let i = 0; i < 10_000; ++i) secrets.create(bob, config, {});
    expect(() => secrets.create(bob, config, {})).toThrow(
      expect.objectContaining({ status: 429, code: 'rate_limit_exceeded' }),
    );
    expect(secrets.find(value)!.client.name).toBe('anna');
    expect(secrets.create(keys.authenticateKey('one'), config, {}).value).toMatch(/^ek_/);
  });

  it('end, the oldest first, rather than keep other clients out if there are no keys', async () => {
    const keys = new Keys(undefined);
    const secrets = new Secrets(keys);
    const client = keys.authenticateKey('any');
    const [first, second] = [secrets.create(client, config, {}), secrets.create(client, config, {})];
    for (let i = 2; i < 10_000; ++i) secrets.create(client, config, {});
    expect(secrets.find(first.value)!.client).toBe(client);
    const last = secrets.create(client, config, {});
    expect(() => secrets.find(first.value)).toThrow(expect.objectContaining({ status: 401 }));
    expect([second, last].map(({ value }) => secrets.find(value)!.client)).toEqual([client, client]);
  });

  it('count as requests of their key', async () => {
    const { url } = await testServer({ keys: await keysFile('one rate=2\n'), preload: false });
    const ask = async () => {
      const response = await fetch(`${url}/v1/realtime/client_secrets`, {
        method: 'POST',
        headers: { authorization: 'Bearer one', 'content-type': 'application/json' },
        body: '{}',
      });
      return [response.status, response.headers.get('x-ratelimit-remaining-requests')];
    };
    expect([await ask(), await ask(), await ask()]).toEqual([
      [200, '1'],
      [200, '0'],
      [429, null],
    ]);
  });
});
