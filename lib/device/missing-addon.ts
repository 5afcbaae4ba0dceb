/** Why there is no addon for this machine, in one sentence. */
import { closeSync, openSync, readSync } from 'node:fs';

/**
 * The packages with addons: '@onehead/' and the name. Of those for one system the first is taken: one with CUDA kernels
 * has those for the CPU too.
 */
export const packages = [
  { name: 'linux-x64-cuda', system: 'linux-x64' },
  { name: 'linux-x64', system: 'linux-x64' },
  { name: 'linux-arm64', system: 'linux-arm64' },
] as const;

/** A package with an addon that was not taken: why, and what to do about that. */
export interface Passed {
  why: string;
  todo: string;
}

export interface Machine {
  /** As packages are named: 'linux-x64'. */
  system: string;
  /** Of Linux: its version, or null where the C library is another one (musl). */
  glibc?: string | null;
}

/** What this process runs on. */
export function machine(): Machine {
  const system = `${process.platform}-${process.arch}`;
  if (process.platform !== 'linux') return { system };
  const { report } = process as { report: { excludeNetwork?: boolean; getReport(): unknown } };
  report.excludeNetwork = true; // names of network interfaces are of no interest, and may take seconds
  const { header } = report.getReport() as { header: { glibcVersionRuntime?: string } };
  return { system, glibc: header.glibcVersionRuntime ?? null };
}

/** Whether a version of glibc is known to be older than another. */
export function isOlder(version: string | null | undefined, than: string | undefined): boolean {
  return Boolean(version && than && version.localeCompare(than, 'en', { numeric: true }) < 0);
}

/** The CPU that a shared library is for, as Node.js names it; undefined where the file does not say. */
export function architectureOf(file: string): string | undefined {
  const header = Buffer.alloc(20);
  let opened: number | undefined;
  try {
    opened = openSync(file, 'r');
    readSync(opened, header);
  } catch {
    return undefined;
  } finally {
    if (opened !== undefined) closeSync(opened);
  }
  const machines: Record<number, string> = { 3: 'ia32', 40: 'arm', 62: 'x64', 183: 'arm64', 243: 'riscv64' };
  return header.toString('latin1', 0, 4) === '\x7fELF' ? machines[header.readUInt16LE(18)] : undefined;
}

export const ownBuild =
  'build the addon in a clone of its repository and name the file (build/Release/onehead.node) in ONEHEAD_ADDON';

/** In a clone of the repository. */
export const notBuilt =
  "onehead's addon was not built in this clone: run `npm run build:native` (on Debian or Ubuntu `sh scripts/setup.sh` installs what that takes).";

/**
 * The sentence for onehead of this version. `installed` are the systems of the packages that are there, `passed` those
 * of them that are for this machine.
 */
export function whyMissing(
  { system, glibc }: Machine,
  version: string,
  installed: readonly string[],
  passed: readonly Passed[],
): string {
  const systems = [...new Set(packages.map((one) => one.system as string))];
  if (!systems.includes(system)) {
    return `onehead has no packed addon for ${system}, only for ${systems.join(' and ')} with glibc; ${ownBuild}.`;
  }
  if (glibc === null) {
    return (
      'onehead has packed addons for Linux with glibc, and this one has another C library (musl, as in Alpine); use an image of Debian, ' +
      `Ubuntu or the like (node:22-slim for one), or ${ownBuild}.`
    );
  }
  if (passed.length > 0) {
    return `onehead cannot compute: ${passed.map(({ why }) => why).join('; ')}; ${passed.at(-1)?.todo}.`;
  }
  const why =
    installed.length > 0
      ? `node_modules was made for ${[...new Set(installed)].join(' and ')}, and this is ${system}`
      : 'optional dependencies were left out (--omit=optional), or package-lock.json or node_modules was made on another system';
  return `onehead's addon, the package @onehead/${system}, is not installed: ${why}; run \`npm install @onehead/${system}@${version}\`.`;
}
