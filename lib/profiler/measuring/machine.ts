/** Describes the machine on which a result was measured. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { Device } from '../../device/device.js';
import { packageRoot } from '../../package-root.js';

export interface Machine {
  cpu: string;
  cores: number;
  /** Names of the GPUs. */
  gpus: string[];
  kernels: string;
  onednn: string;
  node: string;
  onehead: string;
  /**
   * The load average of the minute before the process's first run: the number of busy cores. Absent in older results.
   */
  load?: number;
  /** The commit of a checkout; null for an installed package. */
  commit: string | null;
}

function commit(root: string): string | null {
  if (!existsSync(join(root, '.git'))) return null;
  try {
    return execFileSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return null;
  }
}

/** The load before the process's first run; later it would include the process's own work. */
let firstLoad: number | undefined;

export function describeMachine(): Machine {
  firstLoad ??= loadavg()[0];
  const root = packageRoot();
  const { cpu, onednn, cuda } = Device.information();
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    gpus: cuda.devices.map(({ name }) => name),
    kernels: cpu.kernels,
    onednn: onednn.version,
    node: process.version,
    onehead: version,
    load: firstLoad,
    commit: commit(root),
  };
}
