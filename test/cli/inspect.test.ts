import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { onehead, root, sentence, temporaryFolder } from './command.js';

const facts = async (...args: string[]) => {
  const { status, stdout, stderr } = await onehead(['inspect', ...args, '--json']);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return JSON.parse(stdout);
};

describe('onehead inspect', () => {
  it('describes the bundled model', async () => {
    expect(await facts()).toMatchObject({
      directory: join(root, 'models/micro'),
      width: 128,
      encoder: { layers: 6, heads: 4, keyValueHeads: 4, feedForward: 512 },
      decoder: { layers: 3, heads: 4, keyValueHeads: 4, crossKeyValueHeads: 4, feedForward: 512 },
      mels: 80,
      windowSeconds: 10,
      vocabulary: 3266,
      languages: ['en'],
      storedAs: ['float16'],
    });
  });

  it('names the format and types of other checkpoints', async () => {
    const of = (name: string) => facts(join(root, 'test/fixtures/checkpoints', name));
    expect(await of('ggml/q5_0.bin')).toMatchObject({
      format: 'ggml',
      width: 32,
      storedAs: ['float16', 'float32', 'q5_0'],
      languages: ['en', 'zh', 'de'],
    });
    expect(await of('ctranslate2-int8')).toMatchObject({ format: 'ctranslate2', storedAs: ['int8', 'float16'] });
    expect(await of('openai/model.pt')).toMatchObject({ format: 'openai', storedAs: ['float16'] });
  });

  it('counts parameters and bytes of shared key/value heads', async () => {
    const many = await facts(join(root, 'models/micro'));
    const one = await facts(join(root, 'models/micro-mqa'));
    // In 3 layers with 2 attentions: 3 of 4 heads fewer, each 32 rows of 128 for keys and for values, with a bias.
    const saved = 3 * 2 * (96 * 128 + 96 * 129);
    expect(many.parameters.total - one.parameters.total).toBe(saved);
    expect(many.parameters.encoder + many.parameters.decoder).toBe(many.parameters.total);
    expect(many.parameters.embedding).toBe(3266 * 128);
    // Keys and values of 3 layers: 192 positions of text, 500 of audio.
    expect(many.memory.float32).toEqual({
      weights: 4 * many.parameters.total,
      selfCache: 4 * 2 * 3 * 192 * 128,
      crossCache: 4 * 2 * 3 * 500 * 128,
    });
    // Norms, biases and positions are float32 in any type; with 8 bits, each row has a scale.
    const vectors = (one.memory.bfloat16.weights - 2 * one.parameters.total) / 2;
    expect(vectors).toBeGreaterThan((500 + 192) * 128);
    expect(vectors).toBeLessThan(0.1 * one.parameters.total);
    expect(one.memory.int8.weights).toBeLessThan(0.7 * one.memory.bfloat16.weights);
    expect(one.memory.int8.crossCache).toBe((2 * 3 * 500 * (128 + 4 * 4)) / 4);
    expect(one.memory.bfloat16).toMatchObject({
      selfCache: (2 * 2 * 3 * 192 * 128) / 4,
      crossCache: (2 * 2 * 3 * 500 * 128) / 4,
    });
  });

  it('plans the memory for numbers of windows and rows', async () => {
    const { plan, memory } = await facts(
      join(root, 'models/micro'),
      '--windows',
      '4',
      '--rows',
      '6',
      '--dtype',
      'float32',
    );
    const { windows, rows, float32, bfloat16 } = plan;
    expect({ windows, rows, bfloat16 }).toEqual({ windows: 4, rows: 6, bfloat16: undefined });
    expect(float32).toMatchObject({
      weights: memory.float32.weights,
      crossCache: 4 * memory.float32.crossCache,
      selfCache: 6 * memory.float32.selfCache,
    });
    const { total, ...parts } = float32 as Record<string, number>;
    expect(Object.values(parts).reduce((sum, bytes) => sum + bytes, 0)).toBe(total);
    const own = await facts('--precision', 'cache=int8');
    expect(own.plan['encoder bfloat16, decoder bfloat16, cache int8'].crossCache).toBe(8 * own.memory.int8.crossCache);
    const { windows: usual } = (await facts()).plan;
    expect(usual).toBe(8);
  });

  it('prints a line for each fact', async () => {
    const { status, stdout } = await onehead(['inspect', join(root, 'models/micro-mqa')]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^decoder +3 layers, 4 heads, 1 key\/value heads, feed-forward 512$/m);
    expect(stdout).toMatch(/^cross-attention +4 heads, 1 key\/value heads$/m);
    expect(stdout).toMatch(/^memory, bfloat16 +weights 4.8 MiB/m);
  });

  it('explains what is not a model', async () => {
    const empty = await temporaryFolder();
    for (const model of [empty, join(empty, 'missing'), join(root, 'package.json')]) {
      const { status, stdout, stderr } = await onehead(['inspect', model]);
      expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
      expect(stderr).toMatch(sentence);
      expect(stderr).toContain(model);
    }
  });
});

describe('onehead inspect FILE', () => {
  const file = join(root, 'test/fixtures/audio/two.mp4');

  it('lists the tracks of a recording, and marks the chosen one', async () => {
    const { status, stdout } = await onehead(['inspect', file]);
    expect(status).toBe(0);
    expect(stdout).toContain('format            m4a\n');
    expect(stdout).toContain('track 0           mp4a, 1 channel, 16000 Hz, en\n');
    expect(stdout).toContain('* track 1         mp4a, 1 channel, 16000 Hz, de, Second, default\n');
    const other = await onehead(['inspect', file, '--track', 'en', '--json']);
    expect(JSON.parse(other.stdout)).toMatchObject({ format: 'm4a', tracks: [{ chosen: true }, { chosen: false }] });
  });

  it('refuses the options of models', async () => {
    const { status, stdout, stderr } = await onehead(['inspect', file, '--windows', '4']);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(/^onehead: --windows is for models; .*\.\n$/);
  });

  it('explains errors in a sentence', async () => {
    for (const args of [[file, '--track', '7'], [join(root, 'README.md')]]) {
      const { status, stderr } = await onehead(['inspect', ...args]);
      expect(status).toBe(1);
      expect(stderr).toMatch(sentence);
    }
  });
});
