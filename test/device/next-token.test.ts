import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../lib/device/device.js';
import { devices } from './devices.js';

const vocabulary = 40;
const rules = { endToken: 20, noTimestampsToken: 29, timestampBegin: 30 };

interface Slot {
  /** The tokens after a prompt of two. */
  written?: number[];
  logits: Record<number, number>;
  timestamps?: boolean;
  minimum?: number;
  maximum?: number;
  finished?: boolean;
}

describe.each(devices)('next token on $name', ({ open }) => {
  let device: Device;
  beforeAll(() => {
    device = open();
  });
  afterAll(() => device.close());

  /** The token chosen in each slot, and the state after it. Logits that are not given are -5. */
  async function choose(
    slots: Slot[],
    {
      suppressed = {},
      maxInitialTimestamp = -1,
      timestampEnd = vocabulary,
    }: { suppressed?: Record<number, number>; maxInitialTimestamp?: number; timestampEnd?: number } = {},
  ) {
    const batch = slots.length;
    const capacity = 12;
    const perSlot = (value: (slot: Slot) => number) => device.tensor('int32', [batch], Int32Array.from(slots, value));
    const lengths = slots.map(({ written = [] }) => 2 + written.length);
    const tokens = new Int32Array(batch * capacity);
    const scores = new Float32Array(batch * vocabulary).fill(-5);
    slots.forEach(({ written = [], logits }, slot) => {
      tokens.set([1, 2, ...written], slot * capacity);
      for (const [token, score] of Object.entries(logits)) scores[slot * vocabulary + Number(token)] = score;
    });
    const mask = new Uint8Array(vocabulary);
    for (const [token, bits] of Object.entries(suppressed)) mask[Number(token)] = bits;
    const state = {
      tokens: device.tensor('int32', [batch, capacity], tokens),
      logProbability: device.tensor('float32', [batch, capacity]),
      length: device.tensor('int32', [batch], Int32Array.from(lengths)),
      position: device.tensor('int32', [batch]),
      begin: perSlot(() => 2),
      minimum: perSlot(({ minimum = 0 }) => minimum),
      maximum: perSlot(({ maximum = 9 }) => maximum),
      timestamps: perSlot(({ timestamps = false }) => Number(timestamps)),
      finished: perSlot(({ finished = false }) => Number(finished)),
    };
    using program = device.record('choose', (ops) => {
      const logits = device.tensor('float32', [batch, vocabulary], scores);
      ops.nextToken(
        logits,
        { ...rules, maxInitialTimestamp, timestampEnd, suppressed: device.tensor('uint8', [vocabulary], mask) },
        state,
      );
    });
    await program.run();
    const after = {
      tokens: await state.tokens.toInt32Array(),
      logs: await state.logProbability.toFloat32Array(),
      length: await state.length.toInt32Array(),
      position: await state.position.toInt32Array(),
      finished: await state.finished.toInt32Array(),
    };
    return slots.map((_, slot) => ({
      token: after.length[slot] > lengths[slot] ? after.tokens[slot * capacity + lengths[slot]] : null,
      logProbability: after.logs[slot * capacity + lengths[slot]],
      finished: after.finished[slot] === 1,
      position: after.position[slot],
    }));
  }

  it('chooses the most probable token, with its log-probability, and ends at the end token', async () => {
    const [first, second] = await choose([{ logits: { 3: 2, 4: 1 } }, { logits: { 20: 3 } }]);
    const total = Math.exp(2) + Math.exp(1) + 38 * Math.exp(-5);
    expect(first).toMatchObject({ token: 3, finished: false, position: 2 });
    expect(first.logProbability).toBeCloseTo(2 - Math.log(total), 5);
    expect(second).toMatchObject({ token: 20, finished: true });
  });

  it('does not change a finished sequence', async () => {
    const [slot] = await choose([{ written: [5], logits: { 3: 2 }, finished: true }]);
    expect(slot.token).toBeNull();
  });

  it('suppresses always, or as the first token only', async () => {
    const logits = { 3: 3, 4: 2, 5: 1 };
    const [first, later] = await choose([{ logits }, { written: [9], logits }], { suppressed: { 3: 1, 4: 2 } });
    expect([first.token, later.token]).toEqual([5, 4]);
  });

  it('enforces lengths: no end before the minimum, an end at the maximum', async () => {
    const [early, late] = await choose([
      { written: [9], logits: { 20: 5, 6: 1 }, minimum: 2 },
      { written: [9, 9], logits: { 6: 1 }, maximum: 3 },
    ]);
    expect(early).toMatchObject({ token: 6, finished: false });
    expect(late).toMatchObject({ token: 6, finished: true });
  });

  it('begins with a timestamp no later than the highest allowed', async () => {
    const [slot] = await choose([{ logits: { 3: 9, 29: 9, 36: 8, 33: 2 }, timestamps: true }], {
      maxInitialTimestamp: 4,
    });
    expect(slot.token).toBe(33);
  });

  it('generates timestamps in pairs that do not decrease', async () => {
    const slots = await choose([
      { written: [31, 7, 33], logits: { 3: 9, 34: 1, 20: 0 }, timestamps: true }, // text after one closing timestamp: not allowed
      { written: [31, 7, 33, 33], logits: { 35: 9, 3: 1 }, timestamps: true }, // a third in a row: not allowed
      { written: [31, 7], logits: { 30: 9, 31: 8, 32: 7 }, timestamps: true }, // not before, nor at, the last one
    ]);
    expect(slots.map(({ token }) => token)).toEqual([34, 3, 32]);
  });

  it('chooses a timestamp if all of them together are more probable than any text token', async () => {
    const spread = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [32 + i, 1]));
    const [together, text] = await choose([
      { written: [31, 7], logits: { ...spread, 3: 2 }, timestamps: true },
      { written: [31, 7], logits: { ...spread, 3: 4 }, timestamps: true },
    ]);
    expect(together.token).toBe(32);
    expect(text.token).toBe(3);
  });

  it('treats tokens after the timestamps as text', async () => {
    const spread = Object.fromEntries(Array.from({ length: 6 }, (_, i) => [32 + i, 1]));
    const slots = await choose(
      [
        { logits: { 39: 9, 31: 1 }, timestamps: true }, // no first token
        { written: [31], logits: { 39: 9, 33: 1 }, timestamps: true },
        { written: [31, 39], logits: { 32: 1, 39: 9 }, timestamps: true }, // not a second time after which text must follow
        { written: [31, 39], logits: { 32: 9, 39: 1 }, timestamps: true }, // nor a later time than 32
        { written: [31, 7, 33], logits: { 39: 9, 34: 1 }, timestamps: true }, // no text after one closing timestamp
        { written: [31, 7], logits: { ...spread, 39: 2 }, timestamps: true }, // where all timestamps together are likelier
        { written: [31, 7], logits: { ...spread, 39: 4 }, timestamps: true },
        { written: [31, 7], logits: { 34: 5, 38: 6, 39: 6 }, timestamps: true }, // the lowest of equals
      ],
      { timestampEnd: 38 },
    );
    expect(slots.map(({ token }) => token)).toEqual([31, 39, 39, 32, 34, 32, 39, 38]);
  });

  it('refuses an end of the timestamps before their begin', async () => {
    await expect(choose([{ logits: { 3: 1 } }], { timestampEnd: 29 })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      argument: 'timestampEnd',
    });
  });

  it('handles NaN, and chooses the lowest of equal tokens', async () => {
    const [slot, equal] = await choose([{ logits: { 3: Number.NaN, 8: 1 } }, { logits: { 7: 2, 9: 2 } }]);
    expect([slot.token, equal.token]).toEqual([8, 7]);
  });
});
