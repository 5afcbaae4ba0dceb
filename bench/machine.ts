/** What a stored result says of the machine and the code. */
import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import { Device } from '../lib/device/device.js';

export const root = new URL('..', import.meta.url).pathname;

/** The commit that is measured. A copy without a repository names it in ONEHEAD_COMMIT. */
export const commit = (): string =>
  process.env.ONEHEAD_COMMIT ?? execFileSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim();

export function describeCpu() {
  const { cpu, onednn } = Device.information();
  return { cpu: cpus()[0].model, cores: cpus().length, kernels: cpu.kernels, onednn: onednn.version };
}

/** The last cores of the machine, in the format of taskset. */
export const lastCores = (count: number): string =>
  Array.from({ length: count }, (_, i) => cpus().length - count + i).join(',');
