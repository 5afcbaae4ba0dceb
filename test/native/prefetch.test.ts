import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const build = new URL('../../build/cmake-emulated', import.meta.url).pathname;

it.runIf(existsSync(build))(
  'kernels that read little prefetch weights of later ones',
  () => {
    execFileSync('cmake', ['--build', build, '--target', 'prefetch_check'], { stdio: 'pipe' });
    const { status, stdout } = spawnSync(join(build, 'prefetch_check'), { encoding: 'utf8', timeout: 60_000 });
    expect(stdout).toContain('ok');
    expect(status, stdout).toBe(0);
  },
  600_000,
);
