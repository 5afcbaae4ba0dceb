/**
 * Runs the examples, except servers and live audio, which have separate tests; checks that README.md shows examples.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, describe, expect, it } from 'vitest';
import { root, sample } from '../cli/command.js';
import { example, makePlace, ran } from './support.js';

const place = makePlace();
afterAll(() => place.remove());
const sentence = 'We will return on Thursday.';
const text = `${sentence} Add honey and chicken to the shopping list. Move left forty five meters.`;

/** The input and the expected output of each program. */
const programs: Record<string, { args?: string[]; input?: Uint8Array; expected: RegExp | string }> = {
  'transcribe.mjs': { expected: new RegExp(`${text}\n0.*We will return`) },
  'stream.mjs': { input: readFileSync(sample), expected: /^0(\.\d+)? \d.*We will return on Thursday\./ },
  'telephone-call.mjs': { expected: /^WEBVTT\n/ },
  'subtitles.mjs': { args: ['talk.mp3'], expected: /^$/ },
  'evaluate.mjs': { args: ['talk.mp3', 'talk.txt'], expected: /^talk\.mp3: 0\.0% word error rate/ },
  'queue-worker.mjs': { args: ['recordings', 'transcripts'], expected: 'monday: done\n' },
  'profile.mjs': { args: ['report'], expected: /^multi-head 64 \d+ µs\n[\s\S]*report\/report\.html\n$/ },
  'attention.mjs': { expected: /^[\d.]+ µs; elements moved per multiply-add: .* = 0\.11\n$/ },
  'model.mjs': { expected: /^\[ \d+(, \d+)* \] 9798\n$/ },
  'commonjs.cjs': { args: ['talk.mp3'], expected: `${text}\n` },
};
const elsewhere = [
  // test/examples/server.test.ts and live.test.ts
  ...['curl.sh', 'openai-client.mjs', 'server.mjs', 'live.mjs', 'realtime-openai.mjs', 'realtime-websocket.mjs'],
  'http-service.mjs', // below
];

it('every example has a test', () => {
  expect(readdirSync(join(root, 'examples')).sort()).toEqual([...Object.keys(programs), ...elsewhere].sort());
});

describe('an example', () => {
  mkdirSync(join(place.folder, 'recordings'));
  writeFileSync(join(place.folder, 'recordings/monday.flac'), readFileSync(sample));
  writeFileSync(join(place.folder, 'talk.txt'), text);

  it.each(Object.entries(programs))('%s prints the expected output', async (name, { args = [], input, expected }) => {
    const { status, stdout, stderr } = await ran(place, [example(name), ...args], input);
    expect({ status, stderr: name === 'profile.mjs' ? '' : stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(expected);
    if (name === 'subtitles.mjs') {
      expect(readFileSync(join(place.folder, 'talk.srt'), 'utf8')).toMatch(
        /^1\n00:00:00,\d{3} --> [\d:,]+\nWe will return/,
      );
    }
    if (name === 'queue-worker.mjs') {
      expect(readdirSync(join(place.folder, 'transcripts')).sort()).toEqual(['.onehead', 'monday.json', 'monday.srt']);
    }
  });

  it('of docs/errors.md prints the code', async () => {
    const [, code] = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, 'docs/errors.md'), 'utf8'))!;
    mkdirSync(join(place.folder, 'node_modules'));
    symlinkSync(root, join(place.folder, 'node_modules/onehead'));
    writeFileSync(join(place.folder, 'errors.mjs'), code);
    expect((await ran(place, ['errors.mjs'])).stdout).toMatch(/^AUDIO_NOT_FOUND Cannot open nowhere\.mp3: /);
  });

  it('http-service.mjs responds to recordings and to invalid input', async () => {
    const server = spawn(process.execPath, [example('http-service.mjs')], {
      ...{ cwd: place.folder, env: place.env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      const [line] = (await once(createInterface(server.stdout), 'line')) as [string];
      const url = `http://localhost:${/port: (\d+)/.exec(line)![1]}`;
      const ask = (body: Uint8Array | string) => fetch(url, { method: 'POST', body });
      expect(await (await ask(readFileSync(sample))).json()).toMatchObject({ segments: expect.any(Array) });
      const refused = await ask('no audio');
      expect(refused.status).toBe(400);
      expect(await refused.text()).toMatch(/^OneheadError: /);
      // A client that leaves during its upload leaves nothing behind: the next one is answered.
      const gone = new AbortController();
      const left = fetch(url, {
        method: 'POST',
        body: new ReadableStream({
          start: (controller) => controller.enqueue(readFileSync(sample).subarray(0, 1000)),
        }),
        duplex: 'half',
        signal: gone.signal,
      } as RequestInit);
      setTimeout(() => gone.abort(), 200);
      await expect(left).rejects.toThrow();
      expect((await ask(readFileSync(sample))).status).toBe(200);
    } finally {
      server.kill();
    }
  });
});

describe('README.md', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const blocks = [...readme.matchAll(/```(js|ts)\n([\s\S]*?)```/g)];
  /** The program without the comment on its use. */
  const bodies = new Map(
    readdirSync(join(root, 'examples'))
      .filter((name) => name.endsWith('js'))
      .map((name) => [readFileSync(example(name), 'utf8').replace(/^\/\*\*[\s\S]*?\*\/\n/, ''), name]),
  );

  it.each(blocks.map(([, language, code]) => [code.split('\n')[0], language, code]))(
    'shows an example that is a file: %s',
    (_, language, code) => {
      expect(language).toBe('js');
      expect(bodies.has(code), code).toBe(true);
    },
  );

  it('shows at least five examples', () => expect(blocks.length).toBeGreaterThanOrEqual(5));
});
