/** Greedy and sampled sequences and beam searches of any width in one batch: each chooses the same tokens as alone. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../lib/device/device.js';
import type { BeamState, DecodingState, Sampling } from '../../lib/device/operations.js';
import type { Tensor } from '../../lib/device/tensor.js';
import { devices } from './devices.js';
import { random } from './reference.js';

const [vocabulary, capacity, top, pool, patience] = [120, 12, 4, 20, 2];
const rules = { endToken: 90, noTimestampsToken: 94, timestampBegin: 95, timestampEnd: 117, maxInitialTimestamp: 9 };
const steps = 4;

type Values = Int32Array | Float32Array | Uint8Array;
interface Held {
  values: Values;
  /** The state of one row. */
  shape: readonly number[];
}
const sizeOf = ({ shape }: Held) => shape.reduce((product, size) => product * size, 1);

/** A single row, or the beams of a window. */
interface Member {
  row: number;
  beams: number;
}

describe.each(devices)('a mixed batch on $name', ({ open }) => {
  let device: Device;
  beforeAll(() => {
    device = open();
  });
  afterAll(() => device.close());

  const typeOf = (values: Values) =>
    values instanceof Int32Array ? 'int32' : values instanceof Float32Array ? 'float32' : 'uint8';

  /** A random state of the pool, by name. Rows of no member must not change. */
  function poolState(members: readonly Member[], seed: number): Record<string, Held> {
    const whole = (limit: number, salt: number, count = pool) =>
      Int32Array.from(random(count, seed * 31 + salt), (x) => Math.min(limit - 1, Math.floor(((x + 1) / 2) * limit)));
    const zeros = (count: number) => new Int32Array(count);
    const held = (values: Values, ...shape: number[]): Held => ({ values, shape });
    const floats = (count: number) => new Float32Array(count);
    const begin = whole(3, 1).map((x) => x + 1);
    const length = begin.map((x, row) => x + whole(4, 2)[row]);
    const finished = whole(6, 3).map((x) => Number(x === 0));
    const timestamps = whole(2, 4);
    const maximum = whole(8, 5).map((x) => x + 1);
    const cumulative = random(pool, seed + 6);
    const source = Int32Array.from({ length: pool * capacity }, (_, i) => Math.floor(i / capacity));
    const suppressed = Uint8Array.from(whole(12, 14, pool * vocabulary), (x) => (x < 4 ? x : 0));
    for (const { row, beams } of members) {
      // The beams of a window are consecutive.
      for (let k = 1; k < beams; ++k) {
        for (const values of [begin, length, timestamps, maximum, finished]) values[row + k] = values[row];
        suppressed.copyWithin((row + k) * vocabulary, row * vocabulary, (row + 1) * vocabulary);
      }
      for (let k = 0; k < beams; ++k) {
        for (let n = 0; n < capacity; ++n) source[(row + k) * capacity + n] = row + ((k + n) % beams);
      }
      if (beams > 2) cumulative[row + 1] = Number.NEGATIVE_INFINITY;
    }
    return {
      tokens: held(whole(vocabulary, 7, pool * capacity), capacity),
      logProbability: held(floats(pool * capacity), capacity),
      length: held(length),
      position: held(zeros(pool)),
      begin: held(begin),
      minimum: held(whole(3, 8)),
      maximum: held(maximum),
      timestamps: held(timestamps),
      finished: held(finished),
      repetitionPenalty: held(Float32Array.from(whole(2, 9), (x) => 1 + x / 3)),
      noRepeat: held(whole(4, 10)),
      topTokens: held(zeros(pool * capacity * top).fill(-7), capacity, top),
      topLogProbability: held(floats(pool * capacity * top), capacity, top),
      topCount: held(whole(top + 1, 11)),
      temperature: held(Float32Array.from(whole(2, 12), (x) => x * 0.8)),
      seed: held(whole(9999, 13)),
      suppressed: held(suppressed, vocabulary),
      cumulative: held(cumulative),
      source: held(source, capacity),
      wanted: held(whole(3, 15).map((x) => x + 1)),
      doneCount: held(zeros(pool)),
      doneLength: held(zeros(pool * patience), patience),
      doneScore: held(floats(pool * patience), patience),
      doneTokens: held(zeros(pool * patience * capacity), patience, capacity),
      doneLogProbability: held(floats(pool * patience * capacity), patience, capacity),
      doneSource: held(zeros(pool * patience * capacity), patience, capacity),
    };
  }

  const beamNames = ['cumulative', 'source', 'wanted', 'doneCount', 'doneLength', 'doneScore', 'doneTokens'].concat(
    'doneLogProbability',
    'doneSource',
  );
  const onlyHere = ['topCount', 'suppressed', 'temperature', 'seed', ...beamNames];

  /** Tensors by the names of the operations' arguments. */
  function parts(tensors: Record<string, Tensor>) {
    const pick = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, tensors[name]]));
    const state = pick(Object.keys(tensors).filter((name) => !onlyHere.includes(name)));
    return {
      rules: { ...rules, suppressed: tensors.suppressed },
      state: state as unknown as DecodingState,
      sampling: pick(['temperature', 'seed']) as unknown as Sampling,
      beams: pick(beamNames) as unknown as BeamState,
    };
  }

  /** Runs each member's step separately, without `rows`, and writes its state back to the pool. */
  async function alone(state: Record<string, Held>, members: readonly Member[], logits: Map<number, Float32Array>[]) {
    for (const { row, beams } of members) {
      const batch = Math.max(1, beams);
      const tensors: Record<string, Tensor> = {};
      const local = (name: string, values: Values, sign: number) =>
        name === 'source' || name === 'doneSource' ? values.map((x) => x + sign * row) : values;
      for (const [name, held] of Object.entries(state)) {
        if (name === 'topCount') continue;
        const width = sizeOf(held);
        const own = local(name, held.values.slice(row * width, (row + batch) * width), -1);
        // State of which a window has one, such as its list of candidates.
        let shape = [batch, ...held.shape];
        if (['suppressed', 'wanted', 'doneCount'].includes(name)) shape = name === 'suppressed' ? [vocabulary] : [1];
        else if (name.startsWith('done')) shape = [1, batch * patience, ...held.shape.slice(1)];
        const size = shape.reduce((product, one) => product * one, 1);
        tensors[name] = device.tensor(typeOf(own), shape, own.slice(0, size));
      }
      const given = device.tensor('float32', [batch, vocabulary]);
      const { rules, state: sequences, sampling, beams: search } = parts(tensors);
      using program = device.record('alone', (ops) => {
        if (beams > 0) ops.nextBeams(given, rules, sequences, search);
        else ops.nextToken(given, rules, sequences, sampling);
      });
      for (const step of logits) {
        for (let k = 0; k < batch; ++k) await given.write(step.get(row + k)!, k * vocabulary);
        await program.run();
      }
      for (const [name, tensor] of Object.entries(tensors)) {
        const { values } = state[name];
        const width = sizeOf(state[name]);
        if (name === 'suppressed') continue;
        const actual = tensor.dtype === 'float32' ? await tensor.toFloat32Array() : await tensor.toInt32Array();
        values.set(local(name, actual, 1), row * width);
      }
    }
  }

  it.each([1, 2, 3, 4, 5, 6])(
    'chooses the same for each member as alone, and changes nothing else (%i)',
    async (seed) => {
      // Windows of 3, 2, 1 and 5 beams, and single rows, in another order than in the pool, with idle entries between
      // them.
      const members = [
        { row: 17, beams: 0 },
        { row: 4, beams: 3 },
        { row: 0, beams: 0 },
        { row: 9, beams: 5 },
        { row: 7, beams: 2 },
        { row: 19, beams: 0 },
        { row: 15, beams: 1 },
        { row: 2, beams: 0 },
      ];
      const order = Array.from(random(members.length, seed).keys()).sort(
        (a, b) => random(members.length, seed)[a] - random(members.length, seed)[b],
      );
      const rows: number[] = [];
      const beams: number[] = [];
      for (const index of order) {
        const { row, beams: count } = members[index];
        for (let k = 0; k < Math.max(1, count); ++k) {
          rows.push(row + k);
          beams.push(k === 0 ? count : -1);
        }
        if (index % 3 !== 0) continue;
        rows.push(index === 0 ? -1 : pool + index);
        beams.push(index === 6 ? 3 : 0); // a window without a row is idle too
      }
      const batch = rows.length;
      const state = poolState(members, seed);
      // Ranked tokens that are not requested must not be overwritten either.
      const tensors: Record<string, Tensor> = {};
      for (const [name, { values, shape }] of Object.entries(state)) {
        tensors[name] = device.tensor(typeOf(values), [pool, ...shape], values.slice());
      }
      const logits = Array.from({ length: steps }, (_, step) => {
        const each = rows.map((row, b) => {
          const values = random(vocabulary, seed * 1000 + step * 50 + b).map((x) => 5 * x);
          values[rules.endToken] += 3;
          return [row, values] as const;
        });
        return new Map(each);
      });
      const given = device.tensor('float32', [batch, vocabulary]);
      const chosen = {
        rows: device.tensor('int32', [batch], Int32Array.from(rows)),
        beams: device.tensor('int32', [batch], Int32Array.from(beams)),
      };
      const { rules: taken, state: sequences, sampling, beams: search } = parts(tensors);
      using program = device.record('mixed', (ops) => {
        const all = { ...sequences, topCount: tensors.topCount };
        ops.nextToken(given, taken, all, sampling, chosen);
        ops.nextBeams(given, taken, all, search, chosen);
      });
      for (const step of logits) {
        for (const [b, row] of rows.entries()) await given.write(step.get(row)!, b * vocabulary);
        await program.run();
      }
      const before = state.topTokens.values.slice();
      const counts = state.topCount.values;
      await alone(state, members, logits);
      for (let row = 0; row < pool; ++row) {
        for (let position = 0; position < capacity; ++position) {
          const at = (row * capacity + position) * top;
          const touched = state.topTokens.values[at] !== before[at];
          for (let i = 0; i < top && touched; ++i) {
            if (i < counts[row]) continue;
            // Tokens beyond the requested number are -1; without a request, the memory is unchanged.
            state.topTokens.values[at + i] = counts[row] === 0 ? before[at + i] : -1;
            state.topLogProbability.values[at + i] = counts[row] === 0 ? 0 : Number.NEGATIVE_INFINITY;
          }
        }
      }
      for (const [name, { values }] of Object.entries(state)) {
        const tensor = tensors[name];
        const actual = tensor.dtype === 'float32' ? await tensor.toFloat32Array() : await tensor.toInt32Array();
        expect(Array.from(actual), name).toEqual(Array.from(values));
      }
    },
  );
});
