/** What images and containers depend on: the build's context, and the check of a container's health. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import picomatch from 'picomatch';
import { describe, expect, it } from 'vitest';
import { selfSigned } from '../server/certificate.js';
import { root, testServer } from '../server/support.js';

const textOf = (name: string) => readFileSync(join(root, name), 'utf8');
const linesOf = (name: string) => textOf(name).split('\n').filter(Boolean);

/** True if a path of the clone reaches `docker build`: the last rule of .dockerignore that matches it decides. */
function reachesBuild(path: string): boolean {
  const parents = path.split('/').map((_, index, parts) => parts.slice(0, index + 1).join('/'));
  const matches = (pattern: string) => parents.some((parent) => picomatch.isMatch(parent, pattern, { dot: true }));
  const rule = linesOf('.dockerignore').findLast((line) => matches(line.replace('!', '')));
  return rule === undefined || rule.startsWith('!');
}

/** Runs a container's check. Resolves to its exit status. */
const healthOf = (port: string) =>
  new Promise<number | null>((resolve) => {
    const env = { ...process.env, ONEHEAD_PORT: port };
    spawn(process.execPath, [join(root, 'deploy/health.mjs')], { env }).once('close', resolve);
  });

describe.each(['deploy/Dockerfile', 'deploy/Dockerfile.cuda'])('%s', (name) => {
  it('is built from a context with all that it copies and packs', () => {
    const copied = [...textOf(name).matchAll(/^COPY ([^- .]\S*) /gm)].map(([, path]) => path);
    const packed: string[] = JSON.parse(textOf('package.json'))
      .files.filter((pattern: string) => !pattern.startsWith('!') && pattern !== 'dist') // `npm ci` builds it
      .map((pattern: string) => pattern.replace(/\/\*.*$/, ''));
    const needed = [...copied, ...packed, 'README.md', 'LICENSE', 'lib/index.ts', 'native/addon', 'scripts/setup.sh'];
    expect(copied).toContain('deploy/health.mjs');
    expect(needed.filter((path) => !existsSync(join(root, path)) || !reachesBuild(path))).toEqual([]);
  });
});

it('secrets, builds and packages of the clone do not reach an image', () => {
  const kept = ['deploy/keys.txt', '.git/config', 'build/Release/onehead.node', 'node_modules/fastify/fastify.js'];
  expect(kept.filter(reachesBuild)).toEqual([]);
});

describe('the health of a container', () => {
  it('is good while the server is loading, draining or overloaded, and bad once its devices have failed', async () => {
    const { url, service } = await testServer({ preload: false });
    const { port } = new URL(url);
    service.draining = true;
    expect((await fetch(`${url}/ready`)).status).toBe(503);
    expect(await healthOf(port)).toBe(0);
    service.unhealthy = () => 'the model has failed';
    expect(await healthOf(port)).toBe(1);
  });

  it('is also asked over https, and is bad if nothing answers', async () => {
    const { url, close } = await testServer({ preload: false }, selfSigned());
    const { port } = new URL(url);
    expect(await healthOf(port)).toBe(0);
    await close();
    expect(await healthOf(port)).toBe(1);
  });
});
