/**
 * The package's folder, which contains its addon, models and worker threads. It is found even if the package's code was
 * bundled into another file.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OneheadError } from './errors.js';

/** createRequire is not imported, since bundlers would replace its calls. */
const requireFrom = (file: string): NodeJS.Require => process.getBuiltinModule('node:module').createRequire(file);

/** The file with this code. CommonJS bundles have no `import.meta.url`; then the script, or a path in the folder. */
const here = (): string =>
  import.meta.url ? fileURLToPath(import.meta.url) : (process.argv[1] ?? join(process.cwd(), 'x'));

function isPackage(folder: string): boolean {
  const file = join(folder, 'package.json');
  return existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { name?: string }).name === 'onehead';
}

function find(): string | null {
  let folder = dirname(here());
  while (!isPackage(folder) && dirname(folder) !== folder) folder = dirname(folder);
  if (isPackage(folder)) return folder;
  // In a bundle: the package is installed next to it, or in the working directory.
  for (const from of [here(), join(process.cwd(), 'x')]) {
    try {
      return dirname(requireFrom(from).resolve('onehead/package.json'));
    } catch {}
  }
  return null;
}

let root: string | null | undefined;

/** The package's folder, for code in lib/, dist/ and bundles; null if a bundle runs where it is not installed. */
export function findPackageRoot(): string | null {
  root ??= find();
  return root;
}

/** The package's folder. Throws OneheadError ADDON_UNAVAILABLE. */
export function packageRoot(): string {
  const found = findPackageRoot();
  if (found !== null) return found;
  throw new OneheadError(
    'ADDON_UNAVAILABLE',
    `The package onehead is not installed where the bundle ${here()} runs, and a bundle cannot contain its addon, ` +
      "models and threads; make 'onehead' external in the bundler's settings, and run `npm install onehead` there.",
  );
}

/** Requires as files of the package do, wherever this code is. */
const requireOfPackage = () => requireFrom(join(findPackageRoot() ?? dirname(here()), 'package.json'));

/** Requires a module as files of the package do. */
export function requireFromPackage(name: string): ReturnType<NodeJS.Require> {
  return requireOfPackage()(name);
}

/** Resolves a module as files of the package do. Throws if it does not exist. */
export function resolveFromPackage(name: string): string {
  return requireOfPackage().resolve(name);
}
