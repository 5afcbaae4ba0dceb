/** Sampling, penalties and beam search. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../lib/device/device.js';
import type { BeamState, DecodingState } from '../../lib/device/operations.js';
import { devices } from './devices.js';
import { random } from './reference.js';

const vocabulary = 50;
const endToken = 40;
const capacity = 10;

/** The noise of native/operations/decoding/noise.h, which must be the same on every device. */
function noise(seed: number, position: number, token: number): number {
  const mix = (value: number): number => {
    let x = value >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    return (x ^ (x >>> 16)) >>> 0;
  };
  const key = mix(mix(seed + 0x9e3779b9) ^ (Math.imul(position, 0x9e3779b9) + 0x7f4a7c15));
  const bits = mix(key ^ (Math.imul(token, 0x85ebca6b) + 0x165667b1));
  return -Math.log(-Math.log(((bits >>> 8) + 0.5) / 2 ** 24));
}

const logSoftmax = (logits: readonly number[]): number[] => {
  const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
  return logits.map((logit) => logit - total);
};

describe.each(devices)('search on $name', ({ open }) => {
  let device: Device;
  beforeAll(() => {
    device = open();
  });
  afterAll(() => device.close());

  const integers = (values: readonly number[], shape = [values.length]) =>
    device.tensor('int32', shape, Int32Array.from(values));
  const floats = (values: readonly number[], shape = [values.length]) =>
    device.tensor('float32', shape, Float32Array.from(values));

  /** The state of sequences with a prompt of one token, and their generated tokens. */
  function stateOf(written: readonly (readonly number[])[], maximum = 9): DecodingState {
    const batch = written.length;
    const tokens = new Int32Array(batch * capacity);
    written.forEach((row, b) => {
      tokens.set([1, ...row], b * capacity);
    });
    const each = (value: number) => integers(Array(batch).fill(value));
    return {
      tokens: device.tensor('int32', [batch, capacity], tokens),
      logProbability: device.tensor('float32', [batch, capacity]),
      length: integers(written.map((row) => 1 + row.length)),
      position: each(0),
      begin: each(1),
      minimum: each(0),
      maximum: each(maximum),
      timestamps: each(0),
      finished: each(0),
    };
  }
  const rules = () => ({ suppressed: device.tensor('uint8', [vocabulary]), endToken });

  /** Runs one step with these logits, [batch][vocabulary]. */
  async function choose(
    logits: readonly (readonly number[])[],
    state: DecodingState,
    sampling?: { temperature: number[]; seed: number[] },
  ) {
    const given = floats(logits.flat(), [logits.length, vocabulary]);
    const drawn = sampling && { temperature: floats(sampling.temperature), seed: integers(sampling.seed) };
    using program = device.record('choose', (ops) => ops.nextToken(given, rules(), state, drawn));
    await program.run();
    const [tokens, logs, length] = await Promise.all([
      state.tokens.toInt32Array(),
      state.logProbability.toFloat32Array(),
      state.length.toInt32Array(),
    ]);
    return logits.map((_, b) => {
      const at = b * capacity + length[b] - 1;
      return { token: tokens[at], logProbability: logs[at] };
    });
  }

  it('samples by the seed, at each temperature, with log-probabilities of temperature 1', async () => {
    const batch = 300;
    const rows = Array.from({ length: batch }, (_, b) => Array.from(random(vocabulary, b + 1), (x) => 4 * x));
    const temperature = rows.map((_, b) => [0, 0.3, 1, 2.5][b % 4]);
    const seed = rows.map((_, b) => b * 7 - 100);
    const written = rows.map((_, b) => Array(b % 5).fill(3));
    const choices = await choose(rows, stateOf(written), { temperature, seed });
    rows.forEach((row, b) => {
      const scores = row.map((logit, token) =>
        temperature[b] === 0 ? logit : logit / temperature[b] + noise(seed[b], b % 5, token),
      );
      const wanted = scores.indexOf(Math.max(...scores));
      expect(choices[b].token).toBe(wanted);
      expect(choices[b].logProbability).toBeCloseTo(logSoftmax(row)[wanted], 4);
    });
  });

  it('samples tokens as often as their probabilities say', async () => {
    const row = Array.from({ length: vocabulary }, (_, token) =>
      token < 4 ? Math.log([0.5, 0.3, 0.15, 0.05][token]) : -99,
    );
    const batch = 4000;
    const choices = await choose(Array(batch).fill(row), stateOf(Array(batch).fill([])), {
      temperature: Array(batch).fill(1),
      seed: Array.from({ length: batch }, (_, b) => b),
    });
    [0.5, 0.3, 0.15, 0.05].forEach((probability, token) => {
      const share = choices.filter((one) => one.token === token).length / batch;
      expect(Math.abs(share - probability)).toBeLessThan(4 * Math.sqrt((probability * (1 - probability)) / batch));
    });
  });

  it('penalizes generated tokens once, and not those of the prompt', async () => {
    const row = Array.from({ length: vocabulary }, (_, token) => ({ 1: 3, 5: 3.9, 6: 2, 7: -1 })[token] ?? -20);
    const state = { ...stateOf([[5, 5, 7], [5], [6]]), repetitionPenalty: floats([2, 1, 2]) };
    const choices = await choose([row, row, row], state);
    expect(choices.map(({ token }) => token)).toEqual([1, 5, 5]);
    const penalised = row.map((logit, token) => (token === 5 ? logit / 2 : token === 7 ? logit * 2 : logit));
    expect(choices[0].logProbability).toBeCloseTo(logSoftmax(penalised)[1], 4);
  });

  it('generates no n-gram twice', async () => {
    const row = Array.from({ length: vocabulary }, (_, token) => ({ 5: 4, 6: 3, 7: 2 })[token] ?? -20);
    const written = [[5, 6, 7, 5], [6, 5, 6], [5], [5, 6, 7, 5, 6]];
    const state = { ...stateOf(written), noRepeat: integers([2, 0, 1, 3]) };
    const choices = await choose([row, row, row, [...row.slice(0, 7), 9, ...row.slice(8)]], state);
    expect(choices.map(({ token }) => token)).toEqual([5, 5, 6, 5]);
  });

  it('returns the likeliest tokens of the position, under the rules', async () => {
    const row = Array.from({ length: vocabulary }, (_, token) => ({ 5: 4, 6: 3, 9: 3, 7: 2 })[token] ?? -20);
    const top = {
      topTokens: integers(Array(3 * capacity * 3).fill(0), [3, capacity, 3]),
      topLogProbability: device.tensor('float32', [3, capacity, 3]),
    };
    const state = { ...stateOf([[2], [2, 2], [2]]), noRepeat: integers([0, 0, 0]), ...top };
    await state.finished.write(Int32Array.from([0, 0, 1]));
    await choose([row, row, row], state);
    const ids = await top.topTokens.toInt32Array();
    const logs = await top.topLogProbability.toFloat32Array();
    const at = (b: number, position: number) => (b * capacity + position) * 3;
    expect(Array.from(ids.subarray(at(0, 2), at(0, 3)))).toEqual([5, 6, 9]);
    expect(Array.from(ids.subarray(at(1, 3), at(1, 4)))).toEqual([5, 6, 9]);
    expect(logs[at(0, 2)]).toBeCloseTo(logSoftmax(row)[5], 4);
    expect(Array.from(ids.subarray(at(2, 0)))).toEqual(Array(3 * capacity).fill(0)); // it had ended
  });

  /** Beams with these histories and sums of log-probabilities. */
  function beamsOf(windows: number, cumulative: readonly number[], wanted: number): BeamState {
    const maxDone = 4;
    const kept = [windows, maxDone, capacity];
    return {
      cumulative: floats(cumulative),
      source: integers(
        cumulative.flatMap((_, b) => Array(capacity).fill(b)),
        [cumulative.length, capacity],
      ),
      wanted: integers(Array(windows).fill(wanted)),
      doneCount: device.tensor('int32', [windows]),
      doneLength: device.tensor('int32', [windows, maxDone]),
      doneScore: device.tensor('float32', [windows, maxDone]),
      doneTokens: device.tensor('int32', kept),
      doneLogProbability: device.tensor('float32', kept),
      doneSource: device.tensor('int32', kept),
    };
  }

  it('continues with the best continuations of all beams, and keeps finished hypotheses', async () => {
    const low = Array(vocabulary).fill(-30);
    const row = (chosen: Record<number, number>) => Object.assign([...low], chosen) as number[];
    // Two windows of two beams. The second window is at its first step, so its second beam is not in use yet.
    const logits = [
      row({ 3: Math.log(0.6), 4: Math.log(0.4) }),
      row({ [endToken]: Math.log(0.7), 5: Math.log(0.3) }),
      row({ 6: Math.log(0.9), 7: Math.log(0.1) }),
      row({ 8: 0 }),
    ];
    const state = stateOf([[10, 11], [12, 13], [], []]);
    const beams = beamsOf(2, [-1, -1.1, 0, Number.NEGATIVE_INFINITY], 2);
    const given = floats(logits.flat(), [4, vocabulary]);
    using program = device.record('beams', (ops) => ops.nextBeams(given, rules(), state, beams));
    await program.run();
    const rows = async (tensor: typeof state.tokens) => {
      const all = await tensor.toInt32Array();
      return [0, 1, 2, 3].map((b) => Array.from(all.subarray(b * capacity, (b + 1) * capacity)));
    };
    const tokens = await rows(state.tokens);
    expect(tokens.map((one) => one.slice(0, 4))).toEqual([
      [1, 10, 11, 3],
      [1, 10, 11, 4],
      [1, 6, 0, 0],
      [1, 7, 0, 0],
    ]);
    // Position 2 was just read and is in each beam's own row; earlier positions are where the parent has them.
    const source = await rows(beams.source);
    expect(source.map((one, b) => one.slice(0, b < 2 ? 3 : 1))).toEqual([[0, 0, 0], [0, 0, 0], [2], [2]]);
    const sums = await beams.cumulative.toFloat32Array();
    [-1 + Math.log(0.6), -1 + Math.log(0.4), Math.log(0.9), Math.log(0.1)].forEach((sum, b) => {
      expect(sums[b]).toBeCloseTo(sum, 4);
    });
    expect(Array.from(await beams.doneCount.toInt32Array())).toEqual([1, 0]);
    expect(Array.from(await beams.doneTokens.toInt32Array(0, 4))).toEqual([1, 12, 13, endToken]);
    expect((await beams.doneScore.toFloat32Array())[0]).toBeCloseTo(-1.1 + Math.log(0.7), 4);
    expect((await beams.doneLength.toInt32Array())[0]).toBe(4);
    expect(Array.from(await state.finished.toInt32Array())).toEqual([0, 0, 0, 0]);
    expect(Array.from(await state.position.toInt32Array())).toEqual([3, 3, 1, 1]);
  });

  it('ends a window when enough hypotheses are finished, or at the maximum length', async () => {
    const ending = Array.from({ length: vocabulary }, (_, token) => (token === endToken ? 3 : token === 5 ? 1 : -30));
    const state = stateOf([[10], [11], [12], [13]]);
    await state.maximum.write(Int32Array.from([9, 9, 2, 2]));
    const beams = beamsOf(2, [-1, -1.5, -1, -1.5], 2);
    await beams.wanted.write(Int32Array.from([2, 4]));
    const given = floats(Array(4).fill(ending).flat(), [4, vocabulary]);
    using program = device.record('beams', (ops) => ops.nextBeams(given, rules(), state, beams));
    await program.run();
    expect(Array.from(await state.finished.toInt32Array())).toEqual([1, 1, 1, 1]);
    expect(Array.from(await beams.doneCount.toInt32Array())).toEqual([2, 2]);
  });

  it('refuses invalid beams', () => {
    const record = (beams: BeamState, sequences: number) =>
      device.record('beams', (ops) =>
        ops.nextBeams(
          device.tensor('float32', [sequences, vocabulary]),
          rules(),
          stateOf(Array(sequences).fill([])),
          beams,
        ),
      );
    expect(() => record(beamsOf(3, [0, 0], 1), 2)).toThrow('nextBeams');
    expect(() => record(beamsOf(1, Array(20).fill(0), 1), 20)).toThrow('at most 16');
  });
});
