/** Checks of a model's arguments: loading options, samples and tokens. */
import { checkSamples } from '../../audio/level.js';
import { refuse } from '../../checks.js';
import { OneheadError } from '../../errors.js';
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
    throw new OneheadError('INVALID_SHAPE', 'Expected samples of at least one window but received an empty list.', {
      argument: 'samples',
    });
  }
  for (const window of windows) checkSamples(window);
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
  const rows = (Array.isArray(tokens[0]) ? tokens : [tokens]) as readonly (readonly number[])[];
  const length = rows[0].length;
  if (length < 1 || length > targetPositions || rows.some((row) => row.length !== length)) {
    throw new OneheadError(
      'INVALID_SHAPE',
      `Expected tokens to be one row for each window, all of the same length from 1 to ${targetPositions}.`,
    );
  }
  if (!rows.flat().every((id) => Number.isInteger(id) && id >= 0 && id < vocabulary)) {
    throw new OneheadError('INVALID_ARGUMENT', `Expected tokens to be ids from 0 to ${vocabulary - 1}.`);
  }
  if (rows.length !== windows) {
    throw new OneheadError(
      'INVALID_SHAPE',
      `Expected ${windows} rows of tokens, one for each window, but received ${rows.length}.`,
    );
  }
  return rows;
}
