/** Finds and loads the native addon: a build of one's own, or the package that npm chose for this machine. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { OneheadError, shown } from '../errors.js';
import { packageRoot, requireFromPackage, resolveFromPackage } from '../package-root.js';
import {
  architectureOf,
  isOlder,
  machine,
  notBuilt,
  ownBuild,
  type Passed,
  packages,
  whyMissing,
} from './missing-addon.js';

export interface FoundAddon {
  file: string;
  /** 'ONEHEAD_ADDON', 'a build of this clone', or the package's name and version. */
  origin: string;
  /** Of a package: the oldest glibc that it runs on. */
  glibc?: string;
}

/** Loads a file, or throws what the system says of it. */
type Load = (found: FoundAddon) => unknown;

/** Why a file is not loaded: what the system says, except where that misleads. */
function said(cause: unknown, file: string): string {
  const made = architectureOf(file);
  // glibc looks for another file then, and says that there is none.
  if (made && made !== process.arch) return `it was built for ${made}, and this is ${process.arch}`;
  return shown((cause instanceof Error ? cause.message : String(cause)).split('\n')[0], 200);
}

const unavailable = (sentence: string, cause?: unknown) => new OneheadError('ADDON_UNAVAILABLE', sentence, { cause });

/**
 * The addon whose CUDA backend runs on the CPU, for tests. Throws OneheadError DEVICE_UNAVAILABLE when it was not
 * built.
 */
export function loadEmulatedAddon(): unknown {
  const file = join(packageRoot(), 'build', 'emulated', 'Release', 'onehead.node');
  if (existsSync(file)) return requireFromPackage(file);
  throw new OneheadError(
    'DEVICE_UNAVAILABLE',
    `The emulated CUDA device is for onehead's own tests and is not part of the package; build ${file} with \`npm run build:emulated\`, or use 'cpu'.`,
  );
}

/** An addon of the user's own: the one that ONEHEAD_ADDON names, else what a clone was built into. */
function ownAddon(): FoundAddon | null {
  const named = process.env.ONEHEAD_ADDON;
  if (named) return { file: resolve(named), origin: 'ONEHEAD_ADDON' };
  const files = ['Release', 'Debug'].map((kind) => join(packageRoot(), 'build', kind, 'onehead.node'));
  const file = files.find((one) => existsSync(one));
  return file ? { file, origin: 'a build of this clone' } : null;
}

interface Manifest {
  version: string;
  onehead?: { glibc?: string };
}

const manifestOf = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as Manifest;

interface Installed {
  name: string;
  version: string;
  /** What it is for: 'linux-x64'. */
  system: string;
  /** The oldest glibc that it runs on. */
  glibc?: string;
  file: string;
}

/** The packages with addons that are installed, the ones to be preferred first. */
function installedPackages(): Installed[] {
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

/** Why a package's addon cannot be loaded, and what to do. */
function whyNot({ name, glibc, file }: Installed, cause: unknown): Passed {
  const here = machine();
  if (!isOlder(here.glibc, glibc)) {
    return { why: `${name} cannot be loaded: ${said(cause, file)}`, todo: `reinstall it, or ${ownBuild}` };
  }
  const why = `${name} needs glibc ${glibc} or newer, and this system has ${here.glibc}`;
  return { why, todo: `use a newer system or image, or ${ownBuild}` };
}

interface Opened {
  addon: unknown;
  found: FoundAddon;
  /** Packages that would have been taken before it. */
  passed: Passed[];
}

function openOwn(own: FoundAddon, load: Load): Opened {
  try {
    return { addon: load(own), found: own, passed: [] };
  } catch (cause) {
    const todo =
      own.origin === 'ONEHEAD_ADDON'
        ? 'ONEHEAD_ADDON names it: name another, or unset that'
        : 'rebuild it on this machine with `npm run build:native`';
    throw unavailable(`onehead's addon ${own.file} cannot be loaded: ${said(cause, own.file)}; ${todo}.`, cause);
  }
}

/**
 * The addon, loaded, and where it was found. Throws OneheadError ADDON_UNAVAILABLE, which says what is missing and what
 * to do.
 */
export function openAddon(load: Load = ({ file }) => requireFromPackage(file)): Opened {
  const own = ownAddon();
  if (own) return openOwn(own, load);
  const { version } = manifestOf(join(packageRoot(), 'package.json'));
  const installed = installedPackages();
  const passed: Passed[] = [];
  let failure: unknown;
  for (const one of installed.filter(({ system }) => system === `${process.platform}-${process.arch}`)) {
    const { name, file, glibc } = one;
    if (one.version !== version) {
      const why = `${name} has version ${one.version}, and onehead ${version}`;
      passed.push({ why, todo: `run \`npm install ${name}@${version}\`` });
      continue;
    }
    const found = { file, origin: `${name} ${version}`, glibc };
    try {
      return { addon: load(found), found, passed };
    } catch (cause) {
      failure = cause;
      passed.push(whyNot(one, cause));
    }
  }
  if (installed.length === 0 && existsSync(join(packageRoot(), 'CMakeLists.txt'))) throw unavailable(notBuilt);
  const systems = installed.map(({ system }) => system);
  throw unavailable(whyMissing(machine(), version, systems, passed), failure);
}

/** The addon's exports. Throws OneheadError ADDON_UNAVAILABLE with what was found and what to do. */
export function loadAddon(): unknown {
  const { addon, found, passed } = openAddon();
  if (passed.length > 0) {
    const reasons = passed.map(({ why, todo }) => `${why}; ${todo}`);
    process.emitWarning(`onehead uses ${found.origin}, since ${reasons.join('. ')}.`, { code: 'ONEHEAD_ADDON' });
  }
  return addon;
}
