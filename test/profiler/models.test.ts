/**
 * All measured variants compute the same results: every attention algorithm, and every way to provide cross-attention's
 * keys and values.
 */
import { describe, expect, it } from 'vitest';
import { Device } from '../../lib/device/device.js';
import { DecoderOnly, loadDecoderOnly } from '../../lib/profiler/measuring/decoder-only.js';
import type { AttentionChoice } from '../../lib/profiler/measuring/measured-whisper.js';
import { randomModel } from '../../lib/profiler/measuring/random-weights.js';
import { whisperConfig, withKeyValueHeads } from '../../lib/profiler/measuring/shapes.js';

/** With random weights the same token is chosen again and again, so log-probabilities are compared. */
function expectClose(found: readonly number[], expected: readonly number[]): void {
  expect(found).toHaveLength(expected.length);
  found.forEach((number, i) => {
    expect(number).toBeCloseTo(expected[i], 5);
  });
}

function expectDifferent(one: readonly number[], other: readonly number[]): void {
  expect(Math.max(...one.map((number, i) => Math.abs(number - other[i])))).toBeGreaterThan(1e-3);
}

describe('the decoder-only model', () => {
  const shape = { layers: 2, heads: 4, headSize: 16, vocabulary: 300, positions: 24 };
  const prompts = [
    [5, 17, 250, 8, 99],
    [1, 2, 3, 4, 298],
  ];

  it.each([
    [4, ['multi-head', 'auto', 'memory-efficient']],
    [1, ['multi-query', 'multi-query-1', 'multi-head', 'auto']],
  ] as const)('with %d key/value heads computes the same in each algorithm', async (keyValueHeads, algorithms) => {
    using device = new Device('cpu', { threads: 2 });
    const weights = await loadDecoderOnly(device, 'float32', shape, keyValueHeads);
    const written = [];
    for (const algorithm of algorithms) {
      const options = { batch: 2, dtype: 'float32', keyValueHeads, algorithm, prompt: 5 } as const;
      const model = new DecoderOnly(device, shape, weights, options);
      const first = await model.generate(prompts, 19);
      // Once more after other prompts, which must not have an effect.
      await model.generate([...prompts].reverse(), 3);
      expect(await model.generate(prompts, 19)).toEqual(first);
      written.push(first);
      model.dispose();
    }
    for (const sequence of [0, 1]) {
      const expected = written[0][sequence];
      expect(expected.tokens).toHaveLength(19);
      for (const other of written) {
        expect(other[sequence].tokens).toEqual(expected.tokens);
        expectClose(other[sequence].logProbabilities, expected.logProbabilities);
      }
    }
    expectDifferent(written[0][0].logProbabilities, written[0][1].logProbabilities);
  });
});

describe('a random Whisper', () => {
  const config = whisperConfig('micro');
  const decode = async (shape: typeof config, attention: AttentionChoice) => {
    using model = await randomModel(shape, { device: 'cpu', dtype: 'float32', threads: 2, batch: 2, attention });
    const { mels, sourcePositions } = config;
    const window = mels * 2 * sourcePositions;
    const numbers = Float32Array.from(
      { length: 2 * window },
      (_, i) => (i < window ? 0.2 : 1) * Math.sin(i * i * 1e-6),
    );
    const features = model.device.tensor('float32', [2, mels, 2 * sourcePositions], numbers);
    return await model.generate(await model.encode(features), 30);
  };
  const everywhere = (algorithm: 'multi-head' | 'memory-efficient') => ({
    encoder: algorithm,
    self: algorithm,
    cross: algorithm,
  });

  it.each([
    ['copied keys and values', { crossKeyValues: 'copied' }],
    ['recomputed keys and values', { crossKeyValues: 'recomputed' }],
    ['the original attention', everywhere('multi-head')],
    ['memory-efficient attention', everywhere('memory-efficient')],
  ] as [string, AttentionChoice][])('computes the same with %s', async (_, attention) => {
    const [written, expected] = [await decode(config, attention), await decode(config, {})];
    expect(expected.map(({ tokens }) => tokens.length)).toEqual([30, 30]);
    for (const window of [0, 1]) {
      expect(written[window].tokens).toEqual(expected[window].tokens);
      expectClose(written[window].logProbabilities, expected[window].logProbabilities);
    }
    expectDifferent(expected[0].logProbabilities, expected[1].logProbabilities);
  });

  it('with shared heads computes the same with multi-query-1', async () => {
    const shared = withKeyValueHeads(config, ['encoder', 'self', 'cross'], 1);
    const algorithm = 'multi-query-1' as const;
    const [written, expected] = [
      await decode(shared, { encoder: algorithm, self: algorithm, cross: algorithm }),
      await decode(shared, {}),
    ];
    for (const window of [0, 1]) expectClose(written[window].logProbabilities, expected[window].logProbabilities);
  });
});
