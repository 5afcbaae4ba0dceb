/** Listening, https, and access from pages of other origins. */
import { readFileSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { TLSSocket } from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { selfSigned } from './certificate.js';
import { boundary, form, get, open, part, post } from './raw.js';
import { sample, sampleText, startServer, testServer } from './support.js';

const body = form(
  part('model', 'whisper-1'),
  part('response_format', 'text'),
  part('file', readFileSync(sample), 'a.flac'),
);

it('explains why it cannot listen', async () => {
  const { url } = await testServer({ preload: false });
  const port = Number(new URL(url).port);
  const refused = (listen: object) => expect(startServer({ preload: false }, listen)).rejects;
  await refused({ port }).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'port' });
  await refused({ port }).toThrow(
    /cannot listen on 127\.0\.0\.1, port \d+: another program uses it; choose another port\.$/,
  );
  await refused({ host: '192.0.2.1' }).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'host' });
});

describe('https', () => {
  it('uses the given certificate', async () => {
    const files = selfSigned();
    const { url } = await testServer({}, files);
    expect(url).toMatch(/^https:/);
    const text = await new Promise<string>((resolve, reject) => {
      const headers = { 'content-type': `multipart/form-data; boundary=${boundary}` };
      const options = { method: 'POST', headers, ca: readFileSync(files.tlsCertificate) };
      const sent = request(`${url}/v1/audio/transcriptions`, options, async (answer) => {
        let all = '';
        for await (const piece of answer.setEncoding('utf8')) all += piece;
        resolve(all);
      });
      sent.on('error', reject);
      sent.end(body);
    });
    expect(text.trim()).toBe(sampleText);
    // Clients that do not trust it get an error, and http is refused.
    await expect(fetch(`${url}/health`)).rejects.toThrow();
    await expect(fetch(`${url.replace('https', 'http')}/health`)).rejects.toThrow();
  });

  it('ends although connections have begun no TLS handshake', async () => {
    const server = await testServer({ shutdownTimeout: 60_000 }, selfSigned());
    const silent = await open(server);
    const begun = await open(server);
    begun.write(Buffer.from([0x16, 0x03, 0x01])); // the first bytes of a handshake
    const closed = server.close();
    expect(await Promise.race([closed, wait(8000, 'still open')])).toBeUndefined();
    expect(await Promise.all([silent.answer, begun.answer])).toEqual(['', '']);
  }, 20_000);

  it('sends a response that has begun before it ends', async () => {
    const files = selfSigned();
    const server = await testServer({ shutdownTimeout: 60_000 }, files);
    let finish = () => {};
    server.service.ended.addEventListener('abort', () => setTimeout(() => finish(), 2500));
    server.app.server.prependListener('request', (_, response) => {
      const end = response.end.bind(response);
      response.end = ((...rest: []) => {
        finish = () => end(...rest);
        return response;
      }) as typeof response.end;
    });
    const status = new Promise((resolve, reject) => {
      const sent = request(`${server.url}/health`, { ca: readFileSync(files.tlsCertificate) }, (answer) => {
        answer.resume().once('end', () => resolve(answer.statusCode));
      });
      sent.on('error', reject).end();
    });
    await wait(500);
    await server.close();
    expect(await status).toBe(200);
  }, 20_000);

  it('closes a connection whose TLS handshake takes too long', async () => {
    const server = await testServer({ preload: false }, selfSigned());
    const socket = new TLSSocket(new PassThrough(), { isServer: true });
    onTestFinished(() => void socket.destroy());
    const error = Object.assign(new Error('TLS handshake timeout'), { code: 'ERR_TLS_HANDSHAKE_TIMEOUT' });
    server.app.server.emit('tlsClientError', error, socket); // as Node.js does, after 20 s
    expect(socket.destroyed).toBe(true);
  });

  it('refuses invalid certificates and keys', async () => {
    const { tlsCertificate, tlsKey } = selfSigned();
    const path = join(await mkdtemp(join(tmpdir(), 'onehead-test-')), 'rubbish.pem');
    await writeFile(path, 'rubbish');
    const refused = (listen: object) => expect(startServer({}, listen)).rejects;
    await refused({ tlsCertificate }).toThrow(/both tlsCertificate and tlsKey/);
    await refused({ tlsCertificate: '/nowhere.pem', tlsKey }).toMatchObject({ argument: 'tlsCertificate' });
    await refused({ tlsCertificate, tlsKey: path }).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'tlsKey' });
    await refused({ tlsCertificate: path, tlsKey }).toMatchObject({ argument: 'tlsCertificate' });
    await refused({ tlsCertificate, tlsKey: selfSigned().tlsKey }).toMatchObject({ argument: 'tlsKey' });
  });
});

describe('pages of other origins', () => {
  const origin = 'https://example.org';
  const preflight = {
    origin,
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'authorization',
  };
  const ask = (url: string, headers: Record<string, string>) =>
    fetch(`${url}/v1/audio/transcriptions`, { method: 'OPTIONS', headers });
  const allowed = ({ headers }: { headers: Headers }) => headers.get('access-control-allow-origin');

  it('are refused unless they are allowed', async () => {
    const { url } = await testServer();
    const answer = await ask(url, preflight);
    expect([answer.status, allowed(answer)]).toEqual([404, null]);
  });

  it('can read responses and errors if they are allowed', async () => {
    const server = await testServer({ allowOrigin: [origin] });
    const answer = await ask(server.url, preflight);
    expect([answer.status, allowed(answer), answer.headers.get('vary')]).toEqual([204, origin, 'Origin']);
    expect(answer.headers.get('access-control-allow-headers')).toBe('authorization');
    expect(answer.headers.get('access-control-allow-methods')).toContain('POST');
    const spoken = await post(server, body, { headers: { origin } });
    expect([spoken.text.trim(), allowed(spoken)]).toEqual([sampleText, origin]);
    expect(spoken.headers.get('access-control-expose-headers')).toContain('x-request-id');
    const wrong = await post(server, form(part('model', 'none'), part('file', 'x', 'x')), { headers: { origin } });
    expect([wrong.status, allowed(wrong)]).toEqual([404, origin]);
    const other = await get(server, '/v1/models', { origin: 'https://example.com' });
    expect([other.status, allowed(other)]).toEqual([200, null]);
  });

  it('are all allowed by a star; invalid origins are refused', async () => {
    const { url } = await testServer({ allowOrigin: ['*'], preload: false });
    expect(allowed(await ask(url, preflight))).toBe('*');
    for (const wrong of ['example.org', 'https://example.org/', 'null', '']) {
      await expect(startServer({ allowOrigin: [wrong] })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
  });
});
