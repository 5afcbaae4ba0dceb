/** Finds and loads the native addon: the user's own build, or an installed package for this machine. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { OneheadError, shown } from '../errors.js';
import { unsupportedNode } from '../node-version.js';
import { packageRoot, requireFromPackage, resolveFromPackage } from '../package-root.js';
import {
  architectureOf,
  isOlder,
  machine,
  missingAddonMessage,
  notBuiltMessage,
  ownBuildAdvice,
  packages,
  type SkippedPackage,
} from './missing-addon.js';

export interface FoundAddon {
  file: string;
  /** 'ONEHEAD_ADDON', 'a build of this clone', or the package's name and version. */
  origin: string;
  /** The oldest version of glibc that a package's addon supports. */
  glibc?: string;
}

/** Loads a file, or throws the system's error. */
type Load = (found: FoundAddon) => unknown;

/** Returns why a file was not loaded: the first line of the system's message, unless that is misleading. */
function loadFailure(cause: unknown, file: string): string {
  const architecture = architectureOf(file);
  // glibc ignores files of other architectures, and reports that there is no such file.
  if (architecture && architecture !== process.arch) {
    return `it was built for ${architecture}, and this is ${process.arch}`;
  }
  return shown((cause instanceof Error ? cause.message : String(cause)).split('\n')[0], 200);
}

const unavailable = (message: string, cause?: unknown) => new OneheadError('ADDON_UNAVAILABLE', message, { cause });

/**
 * Loads the addon whose CUDA backend runs on the CPU, for tests. Throws OneheadError DEVICE_UNAVAILABLE if it has not
 * been built.
 */
export function loadEmulatedAddon(): unknown {
  const file = join(packageRoot(), 'build', 'emulated', 'Release', 'onehead.node');
  if (existsSync(file)) return requireFromPackage(file);
  throw new OneheadError(
    'DEVICE_UNAVAILABLE',
    `The emulated CUDA device is for onehead's own tests and not part of the package; build ${file} with ` +
      "`npm run build:emulated`, or use 'cpu'.",
  );
}

/** Returns the user's own addon: the file that ONEHEAD_ADDON names, or the build of a clone. */
function ownAddon(): FoundAddon | null {
  const named = process.env.ONEHEAD_ADDON;
  if (named) return { file: resolve(named), origin: 'ONEHEAD_ADDON' };
  const files = ['Release', 'Debug'].map((kind) => join(packageRoot(), 'build', kind, 'onehead.node'));
  const file = files.find(existsSync);
  return file ? { file, origin: 'a build of this clone' } : null;
}

interface Manifest {
  version: string;
  onehead?: { glibc?: string };
}

const manifestOf = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as Manifest;

interface InstalledPackage {
  name: string;
  version: string;
  /** The platform and architecture that it is built for, such as 'linux-x64'. */
  system: string;
  /** The oldest version of glibc that it supports. */
  glibc?: string;
  file: string;
}

/** Returns the installed packages with addons, in order of preference. */
function installedPackages(): InstalledPackage[] {
  return packages.flatMap(({ name, system }) => {
    try {
      const file = resolveFromPackage(`@onehead/${name}/package.json`);
      const { version, onehead } = manifestOf(file);
      const addon = join(dirname(file), 'onehead.node');
      return [{ name: `@onehead/${name}`, version, system, glibc: onehead?.glibc, file: addon }];
    } catch {
      return [];
    }
  });
}

/** Returns why a package's addon was not loaded, and what to do. */
function skippedPackage({ name, glibc, file }: InstalledPackage, cause: unknown): SkippedPackage {
  const system = machine();
  if (!isOlder(system.glibc, glibc)) {
    const why = `${name} cannot be loaded: ${loadFailure(cause, file)}`;
    return { why, todo: `reinstall it, or ${ownBuildAdvice}` };
  }
  const why = `${name} needs glibc ${glibc} or newer, and this system has ${system.glibc}`;
  return { why, todo: `use a newer system or image, or ${ownBuildAdvice}` };
}

interface OpenedAddon {
  addon: unknown;
  found: FoundAddon;
  /** Packages that have precedence but were not loaded. */
  skipped: SkippedPackage[];
}

function openOwn(own: FoundAddon, load: Load): OpenedAddon {
  try {
    return { addon: load(own), found: own, skipped: [] };
  } catch (cause) {
    const todo =
      own.origin === 'ONEHEAD_ADDON'
        ? 'set the environment variable ONEHEAD_ADDON to another file, or unset it'
        : 'rebuild it on this machine with `npm run build:native`';
    const file = shown(own.file, 200);
    throw unavailable(`onehead's addon ${file} cannot be loaded: ${loadFailure(cause, own.file)}; ${todo}.`, cause);
  }
}

/**
 * Finds and loads the addon. Throws OneheadError ADDON_UNAVAILABLE; the message says what is missing and what to do.
 */
export function openAddon(load: Load = ({ file }) => requireFromPackage(file)): OpenedAddon {
  const own = ownAddon();
  if (own) return openOwn(own, load);
  const { version } = manifestOf(join(packageRoot(), 'package.json'));
  const installed = installedPackages();
  const skipped: SkippedPackage[] = [];
  let failure: unknown;
  for (const candidate of installed.filter(({ system }) => system === `${process.platform}-${process.arch}`)) {
    const { name, file, glibc } = candidate;
    if (candidate.version !== version) {
      const why = `${name} has version ${candidate.version}, and onehead ${version}`;
      skipped.push({ why, todo: `run \`npm install ${name}@${version}\`` });
      continue;
    }
    const found = { file, origin: `${name} ${version}`, glibc };
    try {
      return { addon: load(found), found, skipped };
    } catch (cause) {
      failure = cause;
      skipped.push(skippedPackage(candidate, cause));
    }
  }
  if (installed.length === 0 && existsSync(join(packageRoot(), 'CMakeLists.txt'))) throw unavailable(notBuiltMessage);
  const systems = installed.map(({ system }) => system);
  throw unavailable(missingAddonMessage(machine(), version, systems, skipped), failure);
}

let warns = true;

/** On threads of the pool: leaves warnings to the main thread, which loads the same addon. */
export function leaveWarnings(): void {
  warns = false;
}

/**
 * Loads the addon, with a warning if a package that has precedence was skipped. Throws OneheadError ADDON_UNAVAILABLE;
 * the message says what is missing and what to do.
 */
export function loadAddon(): unknown {
  const problem = unsupportedNode();
  if (problem !== null) throw unavailable(problem);
  const { addon, found, skipped } = openAddon();
  if (warns && skipped.length > 0) {
    const reasons = skipped.map(({ why, todo }) => `${why}; ${todo}`);
    process.emitWarning(`onehead uses ${found.origin}, since ${reasons.join('. ')}.`, { code: 'ONEHEAD_ADDON' });
  }
  return addon;
}
