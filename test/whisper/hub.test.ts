import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as setTimeoutPromise } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readCheckpoint } from '../../lib/whisper/checkpoint/checkpoint.js';
import { resolveModel } from '../../lib/whisper/checkpoint/hub.js';
import { Whisper } from '../../lib/whisper/whisper.js';

const micro = new URL('../../models/micro/', import.meta.url).pathname;
const commit = '0123456789abcdef0123456789abcdef01234567';
const files = readdirSync(micro).filter((name) => /\.(json|safetensors)$/.test(name));

/** Implements the part of the hub's protocol that the client uses. */
class Hub {
  requests: string[] = [];
  authorization: string | undefined;
  files = files;
  /** The folder of its files. */
  folder = micro;
  /** Instead of files: this status, or a connection that closes after this many bytes. */
  status = 200;
  cutAfter = Number.POSITIVE_INFINITY;
  /** The ETag of a file. */
  etag = (name: string): string => `${name.replaceAll('.', '-')}-etag`;
  /** The milliseconds after each 128 KiB of the weights, by the number of requests for them so far. */
  pause: ((requests: number) => number) | null = null;
  weightsRequests = 0;
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = new URL(request.url ?? '', 'http://hub').pathname;
    this.requests.push(path);
    this.authorization = request.headers.authorization;
    if (this.status !== 200) {
      response.writeHead(this.status, { 'content-type': 'application/json' }).end('{"error":"no"}');
    } else if (path.startsWith('/api/models/acme/micro')) {
      const siblings = [...this.files, 'README.md', 'tf_model.h5'].map((rfilename) => ({ rfilename }));
      const body = {
        _id: '1',
        id: 'acme/micro',
        sha: commit,
        private: false,
        gated: false,
        downloads: 0,
        likes: 0,
        lastModified: '2026-01-01T00:00:00.000Z',
        siblings,
      };
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    } else {
      const name = /^\/acme\/micro\/resolve\/[0-9a-f]{40}\/([\w.-]+)$/.exec(path)?.[1];
      if (!name || !this.files.includes(name)) {
        response.writeHead(404).end();
        return;
      }
      this.#sendFile(readFileSync(this.folder + name), name, request, response);
    }
  }

  #sendFile(content: Buffer, name: string, request: IncomingMessage, response: ServerResponse): void {
    const range = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? '');
    const begin = range ? Number(range[1]) : 0;
    const end = range?.[2] ? Math.min(Number(range[2]), content.length - 1) : content.length - 1;
    response.writeHead(range ? 206 : 200, {
      etag: `"${this.etag(name)}"`,
      'content-length': end - begin + 1,
      ...(range && { 'content-range': `bytes ${begin}-${end}/${content.length}` }),
    });
    const body = content.subarray(begin, end + 1);
    if (this.pause && body.length > 1e6) {
      void this.#sendSlowly(body, this.pause(++this.weightsRequests), response);
      return;
    }
    if (body.length <= this.cutAfter) {
      response.end(body);
      return;
    }
    response.write(body.subarray(0, this.cutAfter));
    setTimeout(() => response.destroy(), 20);
  }

  async #sendSlowly(body: Buffer, pause: number, response: ServerResponse): Promise<void> {
    for (let at = 0; at < body.length && !response.destroyed; at += 1 << 17) {
      response.write(body.subarray(at, at + (1 << 17)));
      await setTimeoutPromise(pause);
    }
    response.end();
  }
}

let hub: Hub;
let home = '';
beforeEach(async () => {
  hub = new Hub();
  home = mkdtempSync(join(tmpdir(), 'onehead-hub-'));
  vi.stubEnv('HF_ENDPOINT', await hub.start());
  vi.stubEnv('HF_HOME', home);
  for (const name of [
    'HF_HUB_CACHE',
    'HUGGINGFACE_HUB_CACHE',
    'HF_TOKEN',
    'HF_HUB_OFFLINE',
    'TRANSFORMERS_OFFLINE',
    'HF_TOKEN_PATH',
  ])
    vi.stubEnv(name, undefined);
});
afterEach(() => {
  hub.stop();
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true });
});

describe('a hub name', () => {
  it('is downloaded into the standard cache, with progress, and found there without the hub', async () => {
    const progress: string[] = [];
    const folder = await resolveModel('acme/micro', {
      onDownload: ({ file, loaded, total }) => {
        if (loaded === total) progress.push(file);
      },
    });
    expect(folder).toBe(join(home, 'hub', 'models--acme--micro', 'snapshots', commit));
    expect(readFileSync(join(home, 'hub', 'models--acme--micro', 'refs', 'main'), 'utf8')).toBe(commit);
    expect(readFileSync(join(folder, 'model.safetensors')).equals(readFileSync(`${micro}model.safetensors`))).toBe(
      true,
    );
    expect(progress).toContain('model.safetensors');
    expect(existsSync(join(folder, 'tf_model.h5'))).toBe(false);
    hub.stop();
    const whisper = await Whisper.load('acme/micro', { threads: 1 });
    expect((await whisper.transcribe(`${micro}sample.flac`)).segments).toHaveLength(3);
    whisper.dispose();
  });

  it('may name a revision, and sends the token', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_secret');
    await resolveModel('acme/micro@v1.0');
    expect(hub.authorization).toBe('Bearer hf_secret');
    expect(hub.requests[0]).toContain('v1.0');
  });

  it('keeps no partial file when the connection is cut, and resumes the next time', async () => {
    hub.cutAfter = 100_000;
    await expect(resolveModel('acme/micro')).rejects.toMatchObject({ code: 'DOWNLOAD_FAILED' });
    const blobs = readdirSync(join(home, 'hub', 'models--acme--micro', 'blobs'));
    expect(blobs.filter((name) => name.includes('incomplete') || name.includes('safetensors'))).toEqual([]);
    expect(existsSync(join(home, 'hub', 'models--acme--micro', 'refs', 'main'))).toBe(false);
    hub.cutAfter = Number.POSITIVE_INFINITY;
    hub.requests = [];
    await resolveModel('acme/micro');
    expect(hub.requests.some((path) => path.endsWith('/config.json'))).toBe(false);
  });

  it('whose cache lacks small files, as other programs leave it, downloads them', async () => {
    const folder = await resolveModel('acme/micro');
    const gone = ['tokenizer.json', 'generation_config.json'];
    for (const name of gone) rmSync(join(folder, name));
    hub.requests = [];
    expect(await resolveModel('acme/micro')).toBe(folder);
    for (const name of gone) expect(readFileSync(join(folder, name))).toEqual(readFileSync(`${micro}${name}`));
    expect(hub.requests.some((path) => path.endsWith('.safetensors'))).toBe(false);
    hub.requests = [];
    await resolveModel('acme/micro');
    expect(hub.requests).toEqual([]);

    // Without the hub, only the tokenizer is required.
    hub.stop();
    rmSync(join(folder, 'generation_config.json'));
    expect(await resolveModel('acme/micro')).toBe(folder);
    rmSync(join(folder, 'tokenizer.json'));
    await expect(resolveModel('acme/micro')).rejects.toMatchObject({ code: 'DOWNLOAD_FAILED' });
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await resolveModel('acme/micro')).toBe(folder);
    await expect(Whisper.load('acme/micro')).rejects.toThrow('contains neither tokenizer.json nor vocab.json');
  });

  it('without some of the small files does not request them again', async () => {
    hub.files = files
      .filter((name) => !/^(generation_config|preprocessor_config|processor_config|tokenizer)\.json/.test(name))
      .concat('merges.txt');
    await resolveModel('acme/micro');
    hub.requests = [];
    await resolveModel('acme/micro');
    expect(hub.requests).toEqual([]);
  });

  it.each([
    [['adapter_config.json', 'adapter_model.safetensors'], 'acme/micro is a PEFT adapter without its base model'],
    [['config.json'], 'acme/micro is a checkpoint of TensorFlow or Flax'],
    [['ggml-base.bin', 'ggml-tiny.bin'], 'acme/micro is a collection of ggml files'],
  ])('of %j is refused before anything is downloaded', async (names, message) => {
    hub.files = names;
    await expect(resolveModel('acme/micro')).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringContaining(message),
    });
    expect(hub.requests.every((path) => path.startsWith('/api/'))).toBe(true);
  });

  it.each([
    ['ctranslate2-float16', ['model.bin', 'vocabulary.json', 'config.json', 'tokenizer.json']],
    ['ctranslate2-int8', ['model.bin', 'vocabulary.json', 'config.json']],
    [
      'pytorch',
      ['pytorch_model.bin.index.json', 'pytorch_model-00001-of-00002.bin', 'pytorch_model-00002-of-00002.bin'].concat([
        'config.json',
        'generation_config.json',
        'preprocessor_config.json',
        'tokenizer.json',
      ]),
    ],
  ])('of %s is downloaded completely, and found again', async (kind, names) => {
    hub.folder = new URL(`../fixtures/checkpoints/${kind}/`, import.meta.url).pathname;
    hub.files = names;
    const folder = await resolveModel('acme/micro');
    expect((await readCheckpoint(folder)).format).toBe(kind.replace(/-.*/, ''));
    expect(names.every((name) => existsSync(join(folder, name)))).toBe(true);
    hub.stop();
    expect(await resolveModel('acme/micro')).toBe(folder);
  });

  describe('while it is downloaded by another call', () => {
    const weights = readFileSync(`${micro}model.safetensors`);
    const blobs = () => readdirSync(join(home, 'hub', 'models--acme--micro', 'blobs'));
    /** Resolves when the hub has been asked for the weights, and some of them are written. */
    const isDownloading = async () => {
      await vi.waitFor(() => expect(hub.weightsRequests).toBeGreaterThan(0), { timeout: 10_000, interval: 5 });
      await setTimeoutPromise(50);
    };

    it('of this process, is downloaded once', async () => {
      hub.pause = () => 5;
      const first = resolveModel('acme/micro');
      await isDownloading();
      const [one, two] = await Promise.all([first, resolveModel('acme/micro')]);
      expect(readFileSync(join(one, 'model.safetensors')).equals(weights)).toBe(true);
      expect(two).toBe(one);
      expect(hub.weightsRequests).toBe(1);
      expect(blobs().filter((name) => name.includes('incomplete'))).toEqual([]);
    });

    it('of this process that is aborted, is downloaded again', async () => {
      hub.pause = (requests) => (requests === 1 ? 100 : 0);
      const controller = new AbortController();
      const first = resolveModel('acme/micro', { signal: controller.signal });
      await isDownloading();
      const second = resolveModel('acme/micro');
      controller.abort(new Error('enough'));
      await expect(first).rejects.toThrow('enough');
      expect(readFileSync(join(await second, 'model.safetensors')).equals(weights)).toBe(true);
    });

    it('of a process with the same id, as in containers with one folder, is not mixed with that', async () => {
      hub.pause = (requests) => (requests === 1 ? 10 : 100);
      const first = resolveModel('acme/micro');
      await isDownloading();
      // Another instance of the module shares nothing but the folder and the id of the process.
      vi.resetModules();
      const other = await import('../../lib/whisper/checkpoint/hub.js');
      const controller = new AbortController();
      const second = other.resolveModel('acme/micro', { signal: controller.signal }).catch(() => null);
      await vi.waitFor(() => expect(hub.weightsRequests).toBe(2), { timeout: 10_000, interval: 5 });
      const folder = await first;
      expect(readFileSync(join(folder, 'model.safetensors')).equals(weights)).toBe(true);
      controller.abort();
      await second;
    });

    it('removes partial files of crashes a day later, and keeps those of other programs', async () => {
      const folder = join(home, 'hub', 'models--acme--micro', 'blobs');
      mkdirSync(folder, { recursive: true });
      const yesterday = Date.now() / 1000 - 25 * 3600;
      const old = ['abc.1.incomplete', 'abc.0190ca1a-6be7-4fc6-b70c-6a4f1b1d9f11.incomplete', 'abc.incomplete'];
      for (const name of [...old, 'def.1.incomplete']) writeFileSync(join(folder, name), 'x');
      for (const name of old) utimesSync(join(folder, name), yesterday, yesterday);
      await resolveModel('acme/micro');
      expect(blobs().filter((name) => name.endsWith('.incomplete'))).toEqual(['abc.incomplete', 'def.1.incomplete']);
    });
  });

  it('whose bytes differ from the SHA-256 that the hub gives is refused, and nothing of it is kept', async () => {
    const wrong = mkdtempSync(join(tmpdir(), 'onehead-wrong-'));
    const hashOf = (name: string) =>
      createHash('sha256')
        .update(readFileSync(`${micro}${name}`))
        .digest('hex');
    for (const name of files) writeFileSync(join(wrong, name), readFileSync(`${micro}${name}`));
    const content = readFileSync(join(wrong, 'model.safetensors'));
    content[content.length >> 1] ^= 1;
    writeFileSync(join(wrong, 'model.safetensors'), content);
    hub.folder = `${wrong}/`;
    hub.etag = hashOf;
    await expect(resolveModel('acme/micro')).rejects.toMatchObject({
      code: 'DOWNLOAD_FAILED',
      message: expect.stringContaining('model.safetensors arrived with wrong bytes'),
    });
    const blobs = readdirSync(join(home, 'hub', 'models--acme--micro', 'blobs'));
    expect(blobs).not.toContain(hashOf('model.safetensors'));
    expect(blobs.filter((name) => name.includes('incomplete'))).toEqual([]);
    hub.folder = micro;
    const folder = await resolveModel('acme/micro');
    expect(readFileSync(join(folder, 'model.safetensors')).equals(readFileSync(`${micro}model.safetensors`))).toBe(
      true,
    );
    rmSync(wrong, { recursive: true });
  });

  it('can be aborted', async () => {
    const controller = new AbortController();
    const download = resolveModel('acme/micro', {
      signal: controller.signal,
      onDownload: () => controller.abort(new Error('enough')),
    });
    await expect(download).rejects.toThrow('enough');
  });

  it.each([
    [401, 'DOWNLOAD_FAILED', 'set HF_TOKEN'],
    [403, 'DOWNLOAD_FAILED', 'set HF_TOKEN'],
    [404, 'MODEL_NOT_FOUND', "has no model or revision 'acme/micro'"],
    [503, 'DOWNLOAD_FAILED', 'answered with status 503'],
  ])('to which the hub responds with %i is explained', async (status, code, message) => {
    hub.status = status;
    const error = await resolveModel('acme/micro').catch((caught) => caught);
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
  });

  it('is shortened in messages', async () => {
    hub.status = 404;
    const long = `acme/${'y'.repeat(1000)}`;
    await expect(resolveModel(long)).rejects.toThrow(
      /^The hub has no model or revision 'acme\/y{10,200} [.]{3} y{10,100}'/,
    );
    hub.status = 503;
    const error = await resolveModel(long).catch((caught) => caught);
    expect(error.message.length).toBeLessThan(400);
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    const offline = await resolveModel(long).catch((caught) => caught);
    expect(offline.message.length).toBeLessThan(400);
  });

  it('is explained if the hub does not respond, or must not be used', async () => {
    hub.stop();
    await expect(resolveModel('acme/micro')).rejects.toThrow('check the network connection');
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    await expect(resolveModel('acme/micro')).rejects.toMatchObject({
      code: 'MODEL_NOT_FOUND',
      message: expect.stringContaining('HF_HUB_OFFLINE'),
    });
  });
});

it.each(['no-such-folder', './micro', '../../etc/passwd', 'a/b/c', 'acme/..', '/'.repeat(3)])(
  '%s is neither a folder nor a hub name',
  async (name) => {
    if (name === '///') {
      await expect(Whisper.load(name)).rejects.toThrow('contains no config.json');
      return;
    }
    await expect(resolveModel(name)).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' });
    expect(hub.requests).toEqual([]);
  },
);
