import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const build = new URL('../../build/cmake-emulated', import.meta.url).pathname;

it.runIf(existsSync(build))(
  'the emulation sees missing barriers and waits, unwritten memory, writes out of bounds and deadlocks',
  () => {
    execFileSync('cmake', ['--build', build, '--target', 'emulation_check'], { stdio: 'pipe' });
    const { status, stdout } = spawnSync(join(build, 'emulation_check'), { encoding: 'utf8', timeout: 60_000 });
    expect(stdout).toContain('ok');
    expect(status, stdout).toBe(0);
  },
  600_000,
);
