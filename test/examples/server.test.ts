/** The examples of a server and its clients, with all audio formats and the compiled package. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import OpenAI, { toFile } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { folder, hasFfmpeg } from '../audio/support.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const sample = `${root}models/micro/sample.flac`;
const sampleText =
  'We will return on Thursday. Add honey and chicken to the shopping list. Move left forty five meters.';
const hasCurl = spawnSync('curl', ['--version']).status === 0;

let server: ChildProcess;
let url: string;
const log: string[] = [];

beforeAll(async () => {
  server = spawn(process.execPath, [`${root}examples/server.mjs`, `${root}models/micro`, '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  url = await new Promise<string>((resolve, reject) => {
    server.once('exit', () => reject(new Error(`It ended: ${log.join(' ')}`)));
    createInterface(server.stdout!).on('line', (line) => {
      log.push(line);
      const { msg = '' } = JSON.parse(line) as { msg?: string };
      const [, address] = /^Server listening at (http:\/\/127\.0\.0\.1:\d+)/.exec(msg) ?? [];
      if (address) resolve(address);
    });
  });
});
afterAll(async () => {
  if (!server || server.exitCode !== null) return;
  server.kill('SIGKILL');
  await once(server, 'exit');
});

/** The output of a program. */
async function output(command: string, args: string[], env: Record<string, string> = {}): Promise<string> {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  let complaint = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
  });
  child.stderr.setEncoding('utf8').on('data', (piece: string) => {
    complaint += piece;
  });
  const [status] = await once(child, 'close');
  expect(status, complaint).toBe(0);
  return text;
}

const files = ['tone.wav', 'mulaw-8k.wav', 'tone.flac', 'tone.mp3', 'tone.ogg', 'tone.opus', 'ogg-flac.oga'];
const others = [
  ...['first.m4a', 'last.m4a', 'mono-48k.aac', 'tone.webm'],
  ...(hasFfmpeg ? ['mono-8k.aiff', 'mono.wv'] : []),
];

describe('the example of a service', () => {
  it.each([...files, ...others])('transcribes %s, with the fields before or after the file', async (name) => {
    const client = new OpenAI({ apiKey: 'none', baseURL: `${url}/v1`, maxRetries: 0 });
    const file = await toFile(readFileSync(folder + name), 'unknown_file');
    const fields = { model: 'whisper-1', response_format: 'verbose_json' } as const;
    for (const asked of [
      { file, ...fields },
      { ...fields, file },
    ]) {
      const { duration } = await client.audio.transcriptions.create(asked);
      expect(Math.abs(duration - 1.5)).toBeLessThan(0.1);
    }
  });

  it('has its own routes in addition to the plugin’s', async () => {
    expect(await (await fetch(url)).json()).toEqual({ hello: 'Send recordings to /v1/audio/transcriptions.' });
    const model = await fetch(`${url}/v1/models/gpt-4o-transcribe`);
    expect(await model.json()).toMatchObject({ id: 'speech' });
  });

  it("works with the example of OpenAI's client", async () => {
    const text = await output(process.execPath, [`${root}examples/openai-client.mjs`, sample], {
      OPENAI_BASE_URL: `${url}/v1`,
    });
    const lines = text.trimEnd().split('\n');
    expect(lines[0]).toBe('english, 7.5 s');
    expect(lines[1]).toMatch(/^0\.\d\d-0\.\d\d We$/);
    expect(lines).toHaveLength(20);
    expect(lines.at(-1)).toBe(sampleText);
  });

  it.runIf(hasCurl)('works with the example of curl', async () => {
    const text = await output('sh', [`${root}examples/curl.sh`, sample, url]);
    const [, plain, subtitles, events, pieces] = text.split(/^# .*\n/m);
    expect(plain).toBe(`${sampleText}\n`);
    expect(subtitles).toMatch(/^1\n00:00:00,\d{3} --> 00:00:0\d,\d{3}\nWe will return on Thursday\.\n/);
    expect(events).toMatch(/^data: \{"type":"transcript\.text\.delta","delta":".*\n\ndata: \[DONE\]\n\n$/s);
    expect(JSON.parse(pieces).text).toBe(sampleText);
  });

  it('logs neither texts nor keys', async () => {
    const all = log.join('\n');
    expect(all).toContain('"msg":"transcribed"');
    expect(all).not.toMatch(/Thursday|honey|meters|[Bb]earer/);
  });

  it('shuts down on SIGTERM', async () => {
    const ended = once(server, 'exit');
    server.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
  });
});
