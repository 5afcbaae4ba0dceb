/** `onehead serve`. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it, onTestFinished } from 'vitest';
import { flagsOf } from '../../lib/cli/flags.js';
import { serveHelp } from '../../lib/cli/serve.js';
import { listenOptions } from '../../lib/server/listen-options.js';
import { serverOptions } from '../../lib/server/service/options.js';
import { onehead, root, start, temporaryFolder } from './command.js';

const micro = join(root, 'models/micro');

/** Starts a server, and waits until it listens. */
async function serving(args: string[], env: Record<string, string> = {}) {
  const child = start(['serve', ...args], { env: { ONEHEAD_DEVICE: 'cpu', ONEHEAD_THREADS: '2', ...env } });
  onTestFinished(() => void child.kill('SIGKILL'));
  const lines: { msg: string }[] = [];
  const url = await new Promise<string>((resolve, reject) => {
    child.once('exit', () => reject(new Error(`It ended: ${JSON.stringify(lines)}`)));
    child.stderr.setEncoding('utf8').on('data', (text: string) => lines.push({ msg: text }));
    createInterface(child.stdout).on('line', (line) => {
      const told = JSON.parse(line) as { msg: string };
      lines.push(told);
      const [, address] = /^Server listening at (\S+)$/.exec(told.msg) ?? [];
      if (address) resolve(address);
    });
  });
  return { child, url, lines };
}

const ready = async (url: string) => {
  for (;;) {
    const answer = await fetch(`${url}/ready`);
    if (answer.ok) return;
    await answer.arrayBuffer();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

it('names only environment variables that exist', () => {
  const flags = [...flagsOf(listenOptions), ...flagsOf(serverOptions)].map(({ name }) => name);
  const named = [...serveHelp().matchAll(/ONEHEAD_([A-Z_]+)/g)].map(([, name]) =>
    name.toLowerCase().replaceAll('_', '-'),
  );
  expect(named.length).toBeGreaterThan(1);
  for (const name of named) expect(['models', ...flags]).toContain(name);
});

describe('onehead serve', () => {
  it('uses flags and environment variables, and shuts down', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'keys'), 'one\n');
    const { child, url, lines } = await serving(['--port', '0', '--alias', 'own=micro'], {
      ONEHEAD_MODELS: micro,
      ONEHEAD_PORT: '1', // the flag takes precedence
      ONEHEAD_KEYS: join(folder, 'keys'),
      ONEHEAD_PROTECT_METRICS: 'true',
    });
    await ready(url);
    const ask = (path: string, key?: string) =>
      fetch(url + path, { headers: key === undefined ? {} : { authorization: `Bearer ${key}` } });
    expect((await ask('/v1/models')).status).toBe(401);
    expect((await ask('/metrics')).status).toBe(401);
    expect(await (await ask('/v1/models/own', 'one')).json()).toMatchObject({ id: 'micro', object: 'model' });
    child.kill('SIGUSR2');
    await expect.poll(async () => (await ask('/ready')).json()).toEqual({ status: 'not ready', reason: 'draining' });
    child.kill('SIGUSR2');
    await ready(url);
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
    expect(lines.map(({ msg }) => msg)).toContain('shutting down');
  });

  it('explains invalid options before it listens', async () => {
    const cases: [string[], Record<string, string>, number, RegExp][] = [
      [['--port', 'high'], {}, 2, /Expected --port to be a whole number from 0 to 65535 but received 'high'/],
      [
        [],
        { ONEHEAD_PORT: '99999' },
        2,
        /Expected ONEHEAD_PORT to be a whole number from 0 to 65535 but received '99999'/,
      ],
      [[], { ONEHEAD_PROTECT_METRICS: 'perhaps' }, 2, /Expected ONEHEAD_PROTECT_METRICS to be true or false/],
      [['--langauge', 'en'], {}, 2, /There is no option/],
      [['--keys', '/nowhere/keys'], {}, 1, /The key file \/nowhere\/keys cannot be read/],
      [['/nowhere/model'], {}, 1, /onehead: .*\/nowhere\/model/],
      [['--tls-certificate', '/nowhere/a.pem'], {}, 1, /needs both --tls-certificate and --tls-key/],
      [
        ['--max-new-tokens', '9999'],
        {},
        1,
        /Expected --max-new-tokens to be a whole number from 0 to 189 but received/,
      ],
      [['--alias', 'own=nothing'], {}, 1, /alias own refers to nothing, which is not served/],
    ];
    const results = await Promise.all(
      cases.map(([args, env]) =>
        onehead(
          [
            'serve',
            ...args,
            ...(args.includes('--port') ? [] : ['--port', env.ONEHEAD_PORT ?? '0'].slice(env.ONEHEAD_PORT ? 2 : 0)),
          ],
          { env },
        ),
      ),
    );
    for (const [index, { status, stderr }] of results.entries()) {
      expect(stderr).toMatch(cases[index][3]);
      expect(status).toBe(cases[index][2]);
    }
  });

  it('explains its flags', async () => {
    const { status, stdout } = await onehead(['serve', '--help']);
    expect(status).toBe(0);
    for (const flag of [
      '--port N',
      '--keys FILE',
      '--max-bytes N',
      '--unload-after SECONDS',
      '--device DEVICE,...',
      '--beam-size N',
    ]) {
      expect(stdout).toContain(flag);
    }
    expect(stdout).toContain('ONEHEAD_PORT');
    expect(stdout).not.toMatch(/--language |--words|--max-duration.*\n.*Infinity/);
  });
});
