/** Models that cannot be loaded, and devices that fail: readiness, answers, recovery. */
import { hasSubscribers } from 'node:diagnostics_channel';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fastify, { type FastifyInstance } from 'fastify';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { OneheadError } from '../../lib/errors.js';
import { onehead, type RunningServer, type ServerOptions, Service } from '../../lib/server/index.js';
import { WhisperRuntime } from '../../lib/whisper/model/runtime.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { form, get, part, post, until } from './raw.js';
import { micro, sample, sampleText } from './support.js';

const load = { device: 'cpu', threads: 2 } as const;
const speech = readFileSync(sample);

/** The plugin in an application of the caller, which it must not end. */
async function pluginServer(options: ServerOptions) {
  const app = fastify() as unknown as FastifyInstance;
  const service = await Service.create({ load, shutdownTimeout: 1000, ...options }, app.log);
  await app.register(onehead, { service });
  const server = { url: await app.listen({ port: 0, host: '127.0.0.1' }) } as RunningServer;
  onTestFinished(() => app.close());
  const status = async (path: string) => {
    const { status, json } = await get(server, path);
    return [status, json.reason] as const;
  };
  const transcribe = (model: string) => post(server, form(part('model', model), part('file', speech, 'a')));
  const metrics = async () => (await get(server, '/metrics')).text;
  return { service, status, transcribe, metrics };
}

/** The next encoding of any model fails as if by its device. */
function failNextEncoding(times = 1): void {
  const encode = vi.spyOn(WhisperRuntime.prototype, 'encode');
  onTestFinished(() => encode.mockRestore());
  for (let i = 0; i < times; ++i) {
    encode.mockRejectedValueOnce(new OneheadError('DEVICE_FAILED', 'The GPU has fallen off the bus.'));
  }
}

/** A folder in which a model appears later. */
function laterModel() {
  const folder = mkdtempSync(join(tmpdir(), 'onehead-later-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return { folder, appear: () => cpSync(micro, folder, { recursive: true }) };
}

describe('a model that cannot be loaded at first', () => {
  it('is tried again, and the server says why it is not ready', async () => {
    const { folder, appear } = laterModel();
    const { service, status } = await pluginServer({ models: [{ id: 'm', model: folder }] });
    await until(() => service.models.failures().length > 0);
    expect(await status('/ready')).toEqual([503, expect.stringMatching(/^not loaded: .*model/)]);
    expect(await status('/health')).toEqual([200, undefined]);
    appear();
    await until(() => service.notReady() === null);
    expect(await status('/ready')).toEqual([200, undefined]);
  });

  it('is ready as soon as a request has loaded it', async () => {
    const { folder, appear } = laterModel();
    const { service, status, transcribe } = await pluginServer({ models: [{ id: 'm', model: folder }] });
    await until(() => service.models.failures().length > 0);
    const refused = await transcribe('m');
    expect([refused.status, refused.json.error.code]).toEqual([500, 'model_not_loaded']);
    appear();
    expect((await transcribe('m')).json.text).toBe(sampleText);
    expect(await status('/ready')).toEqual([200, undefined]);
  });
});

describe('a model whose device fails', () => {
  it('is loaded again, and requests meanwhile are told so', async () => {
    const { service, status, transcribe, metrics } = await pluginServer({ models: [{ id: 'm', model: micro }] });
    await until(() => service.notReady() === null);
    // Attempts to load it again fail at first.
    const loading = vi.spyOn(Whisper, 'load').mockRejectedValue(new OneheadError('DEVICE_FAILED', 'Still off.'));
    onTestFinished(() => loading.mockRestore());
    failNextEncoding();
    const failed = await transcribe('m');
    expect([failed.status, failed.json.error.code, failed.headers.get('retry-after')]).toEqual([
      503,
      'model_failed',
      '5',
    ]);
    await until(() => service.models.failures()[0]?.reloadFailed);
    expect(await status('/ready')).toEqual([503, 'the model m has failed: Still off.']);
    expect(await status('/health')).toEqual([503, 'the model m has failed: Still off.']);
    expect(await metrics()).toContain('onehead_model_failed{model="m"} 1');
    const meanwhile = await transcribe('m');
    expect([meanwhile.status, meanwhile.json.error.code]).toEqual([503, 'model_failed']);
    expect(meanwhile.json.error.message).toMatch(/has failed, and the model is being loaded again/);
    expect(Number(meanwhile.headers.get('retry-after'))).toBeGreaterThan(0);
    loading.mockRestore();
    await until(() => service.notReady() === null);
    expect((await transcribe('m')).json.text).toBe(sampleText);
    expect(await status('/health')).toEqual([200, undefined]);
    const after = await metrics();
    expect(after).toContain('onehead_model_failed{model="m"} 0');
    expect(after).toContain('onehead_model_failures_total{model="m"} 1');
  });

  it('does not make the server unhealthy once others have taken its place', async () => {
    const models = [
      { id: 'm', model: micro },
      { id: 'other', model: `${micro}-mqa` },
    ];
    const { service, status, transcribe } = await pluginServer({ models, maximumLoaded: 1 });
    await until(() => service.notReady() === null);
    const { load } = Whisper;
    const loading = vi.spyOn(Whisper, 'load').mockImplementation((model, options) => {
      if (model === micro) throw new OneheadError('DEVICE_FAILED', 'Still off.');
      return load.call(Whisper, model, options);
    });
    onTestFinished(() => loading.mockRestore());
    failNextEncoding();
    expect((await transcribe('m')).status).toBe(503);
    await until(() => service.unhealthy() !== null);
    const { release } = await service.models.acquire('other');
    await until(() => service.unhealthy() === null);
    expect(await status('/ready')).toEqual([200, undefined]);
    const refused = await transcribe('m');
    expect([refused.status, refused.json.error.code]).toEqual([503, 'overloaded']);
    release();
    loading.mockRestore();
    expect((await transcribe('m')).json.text).toBe(sampleText);
  });

  it('makes the server unhealthy if the model belongs to the caller', async () => {
    const whisper = await Whisper.load(micro, load);
    onTestFinished(() => whisper.dispose());
    const { service, status, transcribe } = await pluginServer({ models: [{ id: 'm', whisper }] });
    await until(() => service.notReady() === null);
    failNextEncoding();
    expect((await transcribe('m')).status).toBe(503);
    await until(() => service.notReady() !== null);
    const reason = 'the model m has failed: The GPU has fallen off the bus.';
    expect(await status('/ready')).toEqual([503, reason]);
    expect(await status('/health')).toEqual([503, reason]);
    const refused = await transcribe('m');
    expect([refused.status, refused.json.error.code]).toEqual([503, 'model_failed']);
    expect(refused.json.error.message).toMatch(/when this one was restarted/);
  });

  it('makes the server unhealthy from its start if the model of the caller had failed before', async () => {
    const whisper = await Whisper.load(micro, load);
    onTestFinished(() => whisper.dispose());
    failNextEncoding();
    await expect(whisper.transcribe(sample)).rejects.toMatchObject({ code: 'DEVICE_FAILED' });
    await until(() => whisper.figures().failure !== null);
    await new Promise((resolve) => setTimeout(resolve, 50)); // all events of the failure are over
    const { status, metrics } = await pluginServer({ models: [{ id: 'm', whisper }], preload: false });
    const reason = 'the model m has failed: The GPU has fallen off the bus.';
    expect(await status('/ready')).toEqual([503, reason]);
    expect(await status('/health')).toEqual([503, reason]);
    expect(await metrics()).toContain('onehead_model_failed{model="m"} 1');
  });

  it('serves on with the others of its devices, and the metrics tell', async () => {
    const whisper = await Whisper.load(micro, { device: ['cpu', 'cpu'], threads: 1, windows: 2 });
    onTestFinished(() => whisper.dispose());
    const { service, status, transcribe, metrics } = await pluginServer({ models: [{ id: 'm', whisper }] });
    await until(() => service.notReady() === null);
    failNextEncoding();
    expect((await transcribe('m')).status).toBe(503);
    expect((await transcribe('m')).json.text).toBe(sampleText);
    expect(await status('/ready')).toEqual([200, undefined]);
    expect(await metrics()).toContain('onehead_devices_failed{model="m"} 1');
  });
});

it('tells balancers to send no more requests while it is draining, and answers those that come', async () => {
  const { service, status, transcribe } = await pluginServer({ models: [{ id: 'm', model: micro }] });
  await until(() => service.notReady() === null);
  service.draining = true;
  expect(await status('/ready')).toEqual([503, 'draining']);
  expect(await status('/health')).toEqual([200, undefined]);
  expect((await transcribe('m')).json.text).toBe(sampleText);
  service.draining = false;
  expect(await status('/ready')).toEqual([200, undefined]);
});

it('leaves no observer of engines behind if its options are invalid', async () => {
  const app = fastify() as unknown as FastifyInstance;
  const observed = hasSubscribers('onehead.engine');
  await expect(Service.create({ keys: '/nowhere/keys' }, app.log)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  expect([observed, hasSubscribers('onehead.engine')]).toEqual([false, false]);
});
