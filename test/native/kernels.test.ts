import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const build = new URL('../../build/cmake', import.meta.url).pathname;

// Where the package's own binary is used there is nothing to compile with.
it.runIf(existsSync(build))(
  'every kernel of every instruction set agrees with plain double-precision ones',
  () => {
    execFileSync('cmake', ['--build', build, '--target', 'kernels_check'], { stdio: 'pipe' });
    const { status, stdout } = spawnSync(join(build, 'kernels_check'), { encoding: 'utf8' });
    expect(stdout).toMatch(/\d/);
    expect(status, stdout).toBe(0);
  },
  600_000,
);
