import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { cpuQuota, threadsWithinQuota } from '../lib/cpu-quota.js';

const roots: string[] = [];
afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true });
});

/** A folder with these files, which takes the place of the system's root. */
function system(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'onehead-quota-'));
  roots.push(root);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  return root;
}

const version2 = (path: string) =>
  `30 23 0:26 ${path} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate`;
const version1 = (path: string, controllers: string) =>
  `32 31 0:29 ${path} /sys/fs/cgroup/${controllers} rw,relatime - cgroup cgroup rw,${controllers}`;

it('is the limit of a container with control groups of version 2', () => {
  const files = {
    'proc/self/cgroup': '0::/\n',
    'proc/self/mountinfo': `22 1 8:1 / / rw - ext4 /dev/sda1 rw\n${version2('/')}\n`,
  };
  expect(cpuQuota(system({ ...files, 'sys/fs/cgroup/cpu.max': '250000 100000\n' }))).toBe(2.5);
  expect(cpuQuota(system({ ...files, 'sys/fs/cgroup/cpu.max': 'max 100000\n' }))).toBe(Number.POSITIVE_INFINITY);
  expect(cpuQuota(system(files))).toBe(Number.POSITIVE_INFINITY);
});

it('is the lowest limit of the groups above the process', () => {
  const root = system({
    'proc/self/cgroup': '0::/kubepods/pod7/container\n',
    'proc/self/mountinfo': version2('/'),
    'sys/fs/cgroup/kubepods/cpu.max': 'max 100000',
    'sys/fs/cgroup/kubepods/pod7/cpu.max': '150000 50000',
    'sys/fs/cgroup/kubepods/pod7/container/cpu.max': '400000 100000',
  });
  expect(cpuQuota(root)).toBe(3);
});

it('is the limit of a container with control groups of version 1', () => {
  const limited = (quota: string) => ({
    'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': quota,
    'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
  });
  // The mounted path is the container's own group.
  const files = {
    'proc/self/cgroup': '5:cpuset:/docker/7f\n3:cpu,cpuacct:/docker/7f\n0::/\n',
    'proc/self/mountinfo': [
      version1('/docker/7f', 'cpuset'),
      version1('/docker/7f', 'cpu,cpuacct'),
      version2('/docker/7f'),
    ].join('\n'),
  };
  expect(cpuQuota(system({ ...files, ...limited('50000\n') }))).toBe(0.5);
  expect(cpuQuota(system({ ...files, ...limited('-1\n') }))).toBe(Number.POSITIVE_INFINITY);
});

it('is infinite where there are no control groups', () => {
  expect(cpuQuota(system({}))).toBe(Number.POSITIVE_INFINITY);
});

it.each([
  [64, 2.5, 2],
  [2, 16, 2],
  [8, 0.5, 1],
  [8, Number.POSITIVE_INFINITY, 8],
])('of %i cores with the CPU time of %d, %i threads are used', (cores, quota, threads) => {
  expect(threadsWithinQuota(cores, quota)).toBe(threads);
});
