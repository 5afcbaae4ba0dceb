import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Device } from '../../lib/device/device.js';

/** Pseudorandom numbers, the same in every run. */
const numbers = (count: number, seed: number) =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(i * 12.9898 + seed) * 0.5);

/** A product of many rows (by oneDNN) and one of few (our kernel), many times. */
function work(device: Device) {
  const x = device.tensor('float32', [96, 128], numbers(96 * 128, 1));
  const short = device.tensor('float32', [3, 128], numbers(3 * 128, 4));
  const wide = device.tensor('float32', [256, 128], numbers(256 * 128, 2));
  const narrow = device.tensor('float32', [64, 128], numbers(64 * 128, 3));
  const many = device.tensor('float32', [96, 256]);
  const few = device.tensor('float32', [3, 64]);
  const program = device.record('work', (ops) => {
    ops.linear(x, wide, { output: many, activation: 'gelu' });
    ops.linear(short, narrow, { output: few });
  });
  return async () => {
    await program.run({ times: 200 });
    return [...(await many.toFloat32Array()), ...(await few.toFloat32Array())];
  };
}

describe('the threads of CPU devices', () => {
  it('compute the same on devices that work at once, whatever their number', async () => {
    using alone = new Device('cpu', { threads: 1 });
    const expected = await work(alone)();
    const devices = [1, 2, 3, 5].map((threads) => new Device('cpu', { threads }));
    const works = devices.map(work);
    for (let round = 0; round < 5; ++round) {
      for (const result of await Promise.all(works.map((one) => one()))) {
        let worst = 0;
        for (let i = 0; i < result.length; ++i) worst = Math.max(worst, Math.abs(result[i] - expected[i]));
        expect(worst).toBeLessThan(1e-4);
      }
    }
    for (const device of devices) device.close();
  });

  it('sleep when there is no work', async () => {
    using device = new Device('cpu', { threads: 4 });
    await work(device)();
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, 300));
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000).toBeLessThan(150);
  });

  /** Starts a process that computes with `options`, and returns what it prints about its threads. */
  function inProcess(options: string, environment: NodeJS.ProcessEnv = {}, before: string[] = []) {
    const script = `
      import { readdirSync, readFileSync } from 'node:fs';
      import { Device, WhisperModel } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)};
      const model = await WhisperModel.load(undefined, { device: 'cpu', dtype: 'float32', ...${options} });
      const features = await model.features(Float32Array.from({ length: 16000 }, (_, i) => Math.sin(i * i * 1e-5)));
      const [tokens] = await model.generate(await model.encode(features), { language: 'en', minNewTokens: 9, maxNewTokens: 9 });
      const names = readdirSync('/proc/self/task').map((task) => readFileSync('/proc/self/task/' + task + '/comm', 'utf8').trim());
      const workers = names.filter((name) => name === 'onehead-cpu').length;
      console.log(JSON.stringify({ tokens: [...tokens], workers, threads: Device.information().threads }));
    `;
    const command = [...before, process.execPath, '--input-type=module', '-e', script];
    const { stdout, stderr } = spawnSync(command[0], command.slice(1), {
      encoding: 'utf8',
      env: { ...process.env, ...environment },
    });
    expect(stdout, stderr).not.toBe('');
    return JSON.parse(stdout) as { tokens: number[]; workers: number; threads: number };
  }

  it('are as many as requested, and by default at most the cores that the process may use', () => {
    const three = inProcess('{ threads: 3 }');
    expect(three.workers).toBe(2); // the device's own thread is the third
    const pinned = inProcess('{}', {}, ['taskset', '-c', '0']);
    expect(pinned).toEqual({ tokens: three.tokens, workers: 0, threads: 1 });
  });

  it('are OpenMP’s if oneDNN was loaded into the process before', () => {
    Device.information();
    const oneDnn = /\S+\/libdnnl\.so\S*/.exec(readFileSync('/proc/self/maps', 'utf8'))?.[0];
    const folder = execFileSync('dirname', [oneDnn ?? ''], { encoding: 'utf8' }).trim();
    const preloaded = inProcess('{ threads: 3 }', { LD_PRELOAD: oneDnn, LD_LIBRARY_PATH: folder });
    expect(preloaded.workers).toBe(0);
    expect(preloaded.tokens).toEqual(inProcess('{ threads: 3 }').tokens);
  });
});
