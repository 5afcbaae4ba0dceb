import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const build = new URL('../../build/cmake-emulated', import.meta.url).pathname;

/** Programs in C++ that test native code which has no interface in TypeScript: CMake's targets, and what they show. */
const checks = [
  ['prefetch_check', 'kernels that read little prefetch weights of later ones'],
  [
    'emulation_check',
    'the emulation sees missing barriers and waits, unwritten memory, writes out of bounds and deadlocks',
  ],
] as const;

it.runIf(existsSync(build)).each(checks)(
  '%s: %s',
  (target) => {
    execFileSync('cmake', ['--build', build, '--target', target], { stdio: 'pipe' });
    const { status, stdout } = spawnSync(join(build, target), { encoding: 'utf8', timeout: 60_000 });
    expect(stdout).toContain('ok');
    expect(status, stdout).toBe(0);
  },
  600_000,
);
