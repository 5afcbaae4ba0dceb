/** Checks of a model's arguments: loading options, samples and tokens. */
import { checkSamples } from '../../audio/level.js';
import { refuse, requireMemory } from '../../checks.js';
import type { Checked } from '../../options/options.js';
import type { WhisperConfig } from '../checkpoint/config.js';
import type { Capacity } from '../model/plan.js';
import type { loadOptions } from '../model/types.js';

/**
 * Returns a copy of [layer, head] pairs. Throws OneheadError INVALID_ARGUMENT if the model does not have these heads.
 */
export function checkedHeads(
  heads: readonly (readonly [number, number])[],
  { decoder }: WhisperConfig,
): [number, number][] {
  if (heads.some(([layer, head]) => layer >= decoder.layers || head >= decoder.heads)) {
    const expected = `[layer, head] pairs with layers below ${decoder.layers} and heads below ${decoder.heads}`;
    refuse('alignmentHeads', expected, heads);
  }
  return heads.map(([layer, head]): [number, number] => [layer, head]);
}

/** Returns the requested capacity, without defaults. Throws OneheadError INVALID_ARGUMENT. */
export function requestedCapacity({ windows, batch, rows }: Checked<typeof loadOptions>): Partial<Capacity> {
  if (windows !== undefined && batch !== undefined && windows !== batch) {
    refuse('batch', `the same as windows (${windows}), which has the same meaning,`, batch);
  }
  const count = windows ?? batch;
  if (rows !== undefined && count !== undefined && rows < count) {
    refuse('rows', `at least windows (${count}), since each window needs a row,`, rows);
  }
  return { ...(count !== undefined && { windows: count }), ...(rows !== undefined && { rows }) };
}

/** Returns the samples of each window. Throws OneheadError INVALID_ARGUMENT or INVALID_SHAPE. */
export function windowSamplesOf(samples: Float32Array | readonly Float32Array[]): readonly Float32Array[] {
  const windows = samples instanceof Float32Array ? [samples] : samples;
  if (!Array.isArray(windows) || !windows.every((window) => window instanceof Float32Array)) {
    refuse('samples', 'a Float32Array, or a list of one for each window', samples);
  }
  if (windows.length === 0) {
    refuse('samples', 'a Float32Array, or a list of one for each window', samples, { code: 'INVALID_SHAPE' });
  }
  for (const window of windows) {
    requireMemory('samples', window);
    checkSamples(window);
  }
  return windows;
}

/**
 * Returns one row of tokens for each window, all of the same length. Throws OneheadError INVALID_SHAPE or
 * INVALID_ARGUMENT.
 */
export function tokenRows(
  tokens: readonly number[] | readonly (readonly number[])[],
  windows: number,
  { vocabulary, targetPositions }: WhisperConfig,
): readonly (readonly number[])[] {
  if (!Array.isArray(tokens)) refuse('tokens', 'a list of token ids, or a list of such lists', tokens);
  const rows = (Array.isArray(tokens[0]) ? tokens : [tokens]) as readonly (readonly number[])[];
  const code = 'INVALID_SHAPE';
  if (rows.length !== windows) refuse('tokens.length', `the number of windows (${windows})`, rows.length, { code });
  const { length } = rows[0];
  for (const [index, row] of rows.entries()) {
    const name = rows === tokens ? `tokens[${index}]` : 'tokens';
    if (length < 1 || length > targetPositions) {
      refuse(`${name}.length`, `a number from 1 to ${targetPositions}`, length, { code });
    }
    if (row.length !== length) refuse(`${name}.length`, `that of the other rows (${length})`, row.length, { code });
    const wrong = row.findIndex((id) => !(Number.isInteger(id) && id >= 0 && id < vocabulary));
    if (wrong >= 0) refuse(`${name}[${wrong}]`, `a token id from 0 to ${vocabulary - 1}`, row[wrong]);
  }
  return rows;
}
