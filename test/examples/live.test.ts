/** The examples of live transcription, with the compiled package, and servers with and without TLS. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openAudio } from '../../lib/audio/index.js';
import { selfSigned } from '../server/certificate.js';
import { micro, root, sample, testServer } from '../server/support.js';

const sentences = ['We will return on Thursday.', 'Add honey and chicken to the shopping list.', 'Move left '];

/** The sample as 16-bit PCM. */
async function pcm(sampleRate: number): Promise<Buffer> {
  const source = await openAudio(sample, { sampleRate });
  const parts: number[] = [];
  for await (const chunk of source.chunks()) for (const one of chunk) parts.push(Math.round(one * 32_767));
  return Buffer.from(Int16Array.from(parts).buffer);
}

/** The output of an example. */
async function printed(args: string[], env: NodeJS.ProcessEnv = {}, input?: Buffer): Promise<string> {
  const child = spawn(process.execPath, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
  const [output, errors]: string[][] = [[], []];
  child.stdout.on('data', (data) => output.push(String(data)));
  child.stderr.on('data', (data) => errors.push(String(data)));
  child.stdin.end(input);
  const [status] = await once(child, 'exit');
  expect({ status, errors: status === 0 ? '' : errors.join('') }).toEqual({ status: 0, errors: '' });
  return output.join('');
}

let wav: string;
beforeAll(async () => {
  const samples = await pcm(24_000);
  const head = Buffer.alloc(44);
  head.write('RIFF', 0);
  head.writeUInt32LE(36 + samples.length, 4);
  head.write('WAVEfmt ', 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(24_000, 24);
  head.writeUInt32LE(48_000, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write('data', 36);
  head.writeUInt32LE(samples.length, 40);
  wav = join(await mkdtemp(join(tmpdir(), 'onehead-live-')), 'sample.wav');
  writeFileSync(wav, Buffer.concat([head, samples]));
});

describe('examples of live transcription', () => {
  it('transcribe a pipe', async () => {
    const text = await printed([join(root, 'examples/live.mjs'), micro], {}, await pcm(16_000));
    for (const sentence of sentences) expect(text).toContain(sentence);
    expect(text.trim().split('\n')).toHaveLength(3);
  });

  it("use OpenAI's client", async () => {
    const server = await testServer({}, selfSigned());
    const env = { OPENAI_BASE_URL: `${server.url}/v1`, NODE_NO_WARNINGS: '1' };
    const text = await printed([join(root, 'examples/realtime-openai.mjs'), wav, '10'], env);
    const [deltas, all] = text.split('\n\nWhole text: ');
    expect(deltas).toBe(all.trim());
    expect(all).toContain('shopping list');
  });

  it('use a plain WebSocket', async () => {
    const server = await testServer();
    const url = server.url.replace('http', 'ws');
    const text = await printed([join(root, 'examples/realtime-websocket.mjs'), wav, url, '10']);
    for (const sentence of sentences) expect(text).toContain(sentence);
    expect(text).toMatch(/^\d\.\d s: /);
  });
});
