/**
 * The cases of all operations: one list for tests and for benchmarks.
 *
 *   npm test                                 checks each case on each device
 *   npx vitest run test/cases/linear         one family
 *   npm run bench -- operations --only out   times Whisper's shapes whose names have 'out' in them
 *
 * A case (`Case` in case.ts) declares its operands, how it is recorded, the expected results, and its costs:
 *
 *     operationCase({
 *       operation: 'copy',
 *       name: '3 x 7',
 *       operands: (make) => ({ x: make.random([3, 7]), y: make.output([3, 7]) }),
 *       record: (ops, { x, y }) => void ops.copy(x, { output: y }),
 *       expected: ({ x }) => ({ y: { values: x } }),
 *       bytes: (element) => 2 * 21 * element,
 *       operations: 0,
 *     })
 *
 * To add a case of an existing operation, call the family's function (`linear`, `attentionCase`, ...) with a shape: in
 * the list `checked` for small and odd shapes, in `timed` for Whisper's shapes. Small timed cases are checked as well.
 *
 * To add an operation, write such a function in the file of its family, with a plain reference in double precision. A
 * new family is a file that exports `family`, a test file of three lines, and a line below.
 *
 * check.ts checks for every case: operands are between guards of NaN, which must not change; temporaries, and scratch
 * memory on a CPU, begin as NaN; operands that `expected` does not name must not change. On a CPU each case runs with
 * every instruction set that the machine supports, with one, two and three threads.
 */
import { family as alignment } from './alignment.js';
import { family as attention } from './attention.js';
import type { Family } from './case.js';
import { family as convolution } from './convolution.js';
import { family as decoding } from './decoding.js';
import { family as features } from './features.js';
import { family as linear } from './linear.js';
import { family as normalization } from './normalization.js';
import { family as rows } from './rows.js';

export const families: Readonly<Record<string, Family>> = {
  linear,
  attention,
  normalization,
  convolution,
  features,
  rows,
  decoding,
  alignment,
};
