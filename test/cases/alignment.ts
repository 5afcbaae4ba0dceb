/** Word alignment: sums of attention weights, and dynamic time warping over scores. */
import { alignedPositions, softmax } from './alignment-reference.js';
import { type Family, type Make, type OperationCase, operationCase } from './case.js';
import { windowPositions } from './shapes.js';

interface Add {
  heads: number;
  keys: number;
  /** The pool row of each entry; all rows of the pool if absent. */
  rows?: readonly number[];
  sources: number;
  /** Shape of the float32 sum: [sequences, positions, keys]. */
  sequences: number;
  positions: number;
  /**
   * For each row of the pool: the row of the scores, the row and position of the sum, and the number of counted keys.
   */
  places: readonly { from: number; to: number; position: number; keys: number }[];
}

/** Adds the weights of two layers: the first overwrites the sum. */
function addWeights(shape: Add, name?: string): OperationCase {
  const { heads, keys, rows, sources, sequences, positions, places } = shape;
  const layers = 2;
  return operationCase({
    operation: 'addWeights',
    name: name ?? `${heads} heads over ${keys} keys${rows ? ', rows of a pool' : ''}`,
    dtypes: ['float32'],
    operands: (make: Make) => ({
      first: make.random([sources, 1, heads, keys], { size: 4 }),
      second: make.random([sources, 1, heads, keys], { size: 4 }),
      rows: rows && make.integers(rows),
      from: make.integers(places.map(({ from }) => from)),
      to: make.integers(places.map(({ to }) => to)),
      position: make.integers(places.map(({ position }) => position)),
      counted: make.integers(places.map(({ keys }) => keys)),
      sum: make.random([sequences, positions, keys]),
    }),
    record(ops, { first, second, rows, from, to, position, counted, sum }) {
      const state = { rows, from, to, position, keys: counted };
      ops.addWeights(first, sum, state, { factor: 0.5, fresh: true });
      ops.addWeights(second, sum, state, { factor: 0.5 });
    },
    expected({ first, second, sum }) {
      const values = Float64Array.from(sum);
      for (const row of rows ?? places.keys()) {
        const rowPlace = places[row];
        if (!rowPlace || rowPlace.to < 0 || rowPlace.to >= sequences || rowPlace.position < 0) continue;
        if (rowPlace.position >= positions) continue;
        const at = (rowPlace.to * positions + rowPlace.position) * keys;
        values.fill(0, at, at + keys);
        for (const scores of [first, second]) {
          for (let head = 0; head < heads; ++head) {
            const begin = (rowPlace.from * heads + head) * keys;
            softmax(Array.from(scores.subarray(begin, begin + rowPlace.keys))).forEach((weight, key) => {
              values[at + key] += 0.5 * weight;
            });
          }
        }
      }
      return { sum: { values, maximumError: 1e-5 } };
    },
    bytes: () => layers * 4 * places.length * keys * (heads + 2),
    operations: layers * 5 * places.length * keys * heads,
  });
}

interface Align {
  rows: number;
  positions: number;
  heads: number;
  keys: number;
  width: number;
  begin: readonly number[];
  end: readonly number[];
  frames: readonly number[];
}

function align(shape: Align, name?: string): OperationCase {
  const { rows, positions, heads, keys, width, begin, end, frames } = shape;
  const sequences = begin.length;
  return operationCase({
    operation: 'alignPositions',
    name: name ?? `${sequences} x ${positions} positions, ${heads} heads, ${keys} keys, a filter of ${width}`,
    dtypes: ['float32'],
    operands: (make: Make) => ({
      scores: make.random([rows, positions, heads, keys], { size: 4 }),
      source: make.wholes([sequences, positions], 0, rows),
      begin: make.integers(begin),
      end: make.integers(end),
      frames: make.integers(frames),
      y: make.output([sequences, positions], 'int32'),
    }),
    record: (ops, { scores, source, begin, end, frames, y }) =>
      void ops.alignPositions(scores, { source, begin, end, frames }, { medianWidth: width, output: y }),
    expected({ scores, source, y }) {
      const values = Int32Array.from(y);
      for (let s = 0; s < sequences; ++s) {
        const rowsOf = Array.from({ length: heads }, (_, head) =>
          Array.from({ length: end[s] - begin[s] }, (_, i) => {
            const position = begin[s] + i;
            const at = ((source[s * positions + position] * positions + position) * heads + head) * keys;
            return Array.from(scores.subarray(at, at + frames[s]));
          }),
        );
        values.set(alignedPositions(rowsOf, width), s * positions + begin[s]);
      }
      return { y: { values } };
    },
    bytes: () => 4 * sequences * positions * heads * keys,
    operations: sequences * positions * heads * keys * (10 + width * Math.log2(width + 1)),
  });
}

export const family: Family = {
  checked: [
    ...[
      { heads: 3, keys: 100 },
      { heads: 1, keys: 37 },
      { heads: 40, keys: 501 },
    ].map(({ heads, keys }) =>
      addWeights({
        heads,
        keys,
        // Row 2's weights are not requested, and row 1's position is out of range.
        rows: [3, -1, 0, 2, 1],
        sources: 4,
        sequences: 3,
        positions: 4,
        places: [
          { from: 3, to: 2, position: 3, keys },
          { from: 1, to: 1, position: 4, keys },
          { from: 2, to: -1, position: 0, keys },
          { from: 1, to: 0, position: 1, keys: Math.floor(keys / 2) },
          { from: 0, to: 0, position: 0, keys },
        ],
      }),
    ),
    // Without counted keys, the weights are zero.
    addWeights({
      heads: 2,
      keys: 20,
      sources: 1,
      sequences: 1,
      positions: 1,
      places: [{ from: 0, to: 0, position: 0, keys: 0 }],
    }),
    ...[
      { keys: 100, width: 7 },
      { keys: 37, width: 1 },
      { keys: 500, width: 5 },
    ].map(({ keys, width }) =>
      align({
        rows: 4,
        positions: 24,
        heads: 3,
        keys,
        width,
        begin: [2, 0, 20],
        end: [24, 9, 21],
        frames: [keys, Math.floor(keys / 2), 3],
      }),
    ),
  ],
  timed: (batch) => [
    addWeights(
      {
        heads: 20,
        keys: windowPositions,
        sources: batch,
        sequences: batch,
        positions: 8,
        places: Array.from({ length: batch }, (_, b) => ({ from: b, to: b, position: 3, keys: windowPositions })),
      },
      `batch ${batch}, 20 heads, two layers`,
    ),
    ...(batch > 8
      ? []
      : [
          align(
            {
              rows: batch,
              positions: 64,
              heads: 6,
              keys: windowPositions,
              width: 7,
              begin: Array<number>(batch).fill(4),
              end: Array<number>(batch).fill(60),
              frames: Array<number>(batch).fill(windowPositions),
            },
            `batch ${batch}, 56 tokens of 6 heads`,
          ),
        ]),
  ],
};
