import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

/** The text of a file; empty if it cannot be read. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** The limit of a control group in cores: `cpu.max` in version 2 ('max': none), two files in version 1 (-1: none). */
function quotaOf(folder: string): number {
  const version1 = ['cpu.cfs_quota_us', 'cpu.cfs_period_us'].map((name) => textOf(join(folder, name))).join(' ');
  const [quota, period] = (textOf(join(folder, 'cpu.max')) || version1).trim().split(/\s+/).map(Number);
  return quota > 0 && period > 0 ? quota / period : Number.POSITIVE_INFINITY;
}

/**
 * The CPU time that this process may use, in cores: the lowest limit of its Linux control groups, or infinity.
 * Containers are limited in this way: all cores of the machine remain visible, but the system stops the process for the
 * rest of each period (0.1 s) in which it has used up its time.
 *
 * @param root for tests: the folder that holds `proc` and what is mounted
 */
export function cpuQuota(root = '/'): number {
  // Lines of /proc/self/cgroup: 'number:controllers:path', without controllers for version 2.
  const groups = textOf(join(root, 'proc/self/cgroup'))
    .split('\n')
    .map((line) => line.match(/^\d+:([^:]*):(.*)$/))
    .filter((match) => match !== null)
    .filter(([, controllers]) => controllers === '' || controllers.split(',').includes('cpu'));
  let lowest = Number.POSITIVE_INFINITY;
  for (const line of textOf(join(root, 'proc/self/mountinfo')).split('\n')) {
    // 'number parent device root folder options ... - type source options'
    const [mount, type = ''] = line.split(' - ');
    const [, , , mountedPath, mountFolder] = mount.split(' ');
    const [name, , options = ''] = type.split(' ');
    const isVersion2 = name === 'cgroup2';
    if (!isVersion2 && !(name === 'cgroup' && options.split(',').includes('cpu'))) continue;
    const group = groups.find(([, controllers]) => (controllers === '') === isVersion2);
    if (!group) continue;
    // In a container the mounted path may be the group's own, or one that the container cannot see.
    const below = relative(mountedPath, group[2]);
    const names = below === '' || below.startsWith('..') ? [] : below.split('/');
    for (let depth = names.length; depth >= 0; --depth) {
      lowest = Math.min(lowest, quotaOf(join(root, mountFolder, ...names.slice(0, depth))));
    }
  }
  return lowest;
}

/** How many of `cores` threads can run at once within the quota; at least one. */
export function threadsWithinQuota(cores: number, quota = cpuQuota()): number {
  return Math.max(1, Math.min(cores, Math.floor(quota)));
}
