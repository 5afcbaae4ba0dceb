/** The CUDA architectures of a build for this machine. */
import { createRequire } from 'node:module';
import { expect, it } from 'vitest';

const { architecturesOf } = createRequire(import.meta.url)('../../scripts/cuda-toolkit.cjs') as {
  architecturesOf(capabilities: string[]): string;
};

it.each([
  [[], '80'],
  [['7.5'], '80'],
  [['9.0'], '90a-real'],
  [['9.0', '9.0'], '90a-real'],
  [['8.9', '8.0', '7.0'], '80-real;89-real'],
  [['8.7'], '80-virtual'],
  [['10.3'], '80-virtual'],
  [['12.1'], '120-virtual'],
])('GPUs of %j: %s', (capabilities, expected) => {
  expect(architecturesOf(capabilities)).toBe(expected);
});
