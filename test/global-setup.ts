import { execFileSync } from 'node:child_process';

/** Tests of workers, processes and the command run the package as it is published: compiled. */
export default function setup(): void {
  execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], {
    stdio: 'inherit',
  });
}
