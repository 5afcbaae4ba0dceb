import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const root = new URL('..', import.meta.url).pathname;

export default function setup(): void {
  const run = (...command: string[]) => execFileSync(process.execPath, command, { cwd: root, stdio: 'inherit' });
  // Tests of workers, processes and the command use the package as it is published: compiled.
  run('node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json');
  run('scripts/bundle.cjs');
  run('scripts/join-modules.cjs');
  run('scripts/build-commonjs.cjs');
  // The CUDA backend is tested on the CPU, in a separate addon. It cannot be compiled where the published addon is
  // tested.
  if (process.env.ONEHEAD_TEST_GPU !== '1' && existsSync(`${root}build/cmake`)) {
    run('scripts/build-native.cjs', '--emulated', '--quiet');
  }
}
