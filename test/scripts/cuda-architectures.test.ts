/** The CUDA architectures of a build for this machine. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const { architecturesOf, hasCompiler } = createRequire(import.meta.url)('../../scripts/cuda-toolkit.cjs') as {
  architecturesOf(capabilities: string[], version?: number): string;
  hasCompiler(environment: NodeJS.ProcessEnv): boolean;
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

it.each([
  [['9.0', '12.0'], 12.8, '120-real;90a-real'],
  [['9.0', '12.0'], 12.4, '80-virtual;90a-real'],
  [['10.0', '12.1'], 12, '80-virtual'],
])('GPUs of %j with nvcc %d, which may not know them: %s', (capabilities, version, expected) => {
  expect(architecturesOf(capabilities, version)).toBe(expected);
});

it.each([
  ['Cuda compilation tools, release 11.8, V11.8.89', false],
  ['Cuda compilation tools, release 12.0, V12.0.140', true],
  ['Cuda compilation tools, release 13.0, V13.0.48', true],
])('nvcc that says %j is usable: %s', (version, usable) => {
  const folder = mkdtempSync(join(tmpdir(), 'onehead-nvcc-'));
  try {
    writeFileSync(join(folder, 'nvcc'), `#!/bin/sh\necho '${version}'\n`, { mode: 0o755 });
    const PATH = `${folder}:${process.env.PATH}`;
    expect(hasCompiler({ ...process.env, PATH, CUDACXX: '', CUDA_HOME: folder })).toBe(usable);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
