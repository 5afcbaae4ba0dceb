/** The error message if there is no usable addon for this machine. */
import { closeSync, openSync, readSync } from 'node:fs';

/**
 * The packages with addons, as names after '@onehead/'. If several are for one system, the first one that loads is
 * used; the one with CUDA kernels also has the CPU kernels.
 */
export const packages = [
  { name: 'linux-x64-cuda', system: 'linux-x64' },
  { name: 'linux-x64', system: 'linux-x64' },
  { name: 'linux-arm64', system: 'linux-arm64' },
] as const;

/** A package whose addon was not loaded. */
export interface SkippedPackage {
  /** The reason, as part of a sentence. */
  why: string;
  /** What the user can do, as part of a sentence. */
  todo: string;
}

export interface Machine {
  /** Platform and architecture, such as 'linux-x64'. */
  system: string;
  /** On Linux the version of glibc, or null for another C library such as musl. */
  glibc?: string | null;
}

/** Describes the machine on which this process runs. */
export function machine(): Machine {
  const system = `${process.platform}-${process.arch}`;
  if (process.platform !== 'linux') return { system };
  const { report } = process as { report: { excludeNetwork?: boolean; getReport(): unknown } };
  report.excludeNetwork = true; // looking up the names of network interfaces may take seconds
  const { header } = report.getReport() as { header: { glibcVersionRuntime?: string } };
  return { system, glibc: header.glibcVersionRuntime ?? null };
}

/** True if a version of glibc is older than another; false if either is unknown. */
export function isOlder(version: string | null | undefined, than: string | undefined): boolean {
  return Boolean(version && than && version.localeCompare(than, 'en', { numeric: true }) < 0);
}

/**
 * Returns the architecture that a shared library was built for, by Node.js' name; undefined if the file is not ELF or
 * not readable, or the architecture has no name here.
 */
export function architectureOf(file: string): string | undefined {
  const header = Buffer.alloc(20);
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, 'r');
    readSync(descriptor, header);
  } catch {
    return undefined;
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
  const machines: Record<number, string> = { 3: 'ia32', 40: 'arm', 62: 'x64', 183: 'arm64', 243: 'riscv64' };
  return header.toString('latin1', 0, 4) === '\x7fELF' ? machines[header.readUInt16LE(18)] : undefined;
}

export const ownBuildAdvice =
  "build the addon in a clone of onehead's repository and set ONEHEAD_ADDON to its file (build/Release/onehead.node)";

export const notBuiltMessage =
  "onehead's addon has not been built in this clone: run `npm run build:native` " +
  '(on Debian or Ubuntu `sh scripts/setup.sh` installs what the build needs).';

/**
 * Returns the error message. `version` is onehead's, `installed` the systems of the installed packages, and `skipped`
 * those packages for this machine that were not loaded.
 */
export function missingAddonMessage(
  { system, glibc }: Machine,
  version: string,
  installed: readonly string[],
  skipped: readonly SkippedPackage[],
): string {
  const systems = [...new Set(packages.map((one) => one.system as string))];
  if (!systems.includes(system)) {
    return `onehead has no packed addon for ${system}, only for ${systems.join(' and ')} with glibc; ${ownBuildAdvice}.`;
  }
  if (glibc === null) {
    return (
      'onehead has packed addons for Linux with glibc, but this system has another C library (musl, as in Alpine); ' +
      `use a Debian or Ubuntu image such as node:22-slim, or ${ownBuildAdvice}.`
    );
  }
  if (skipped.length > 0) {
    return `onehead cannot load its addon: ${skipped.map(({ why }) => why).join('; ')}; ${skipped.at(-1)?.todo}.`;
  }
  const why =
    installed.length > 0
      ? `node_modules was installed for ${[...new Set(installed)].join(' and ')}, and this is ${system}`
      : 'optional dependencies were omitted (--omit=optional), or package-lock.json or node_modules is from another system';
  const command = `npm install @onehead/${system}@${version}`;
  return `onehead's addon, the package @onehead/${system}, is not installed: ${why}; run \`${command}\`.`;
}
