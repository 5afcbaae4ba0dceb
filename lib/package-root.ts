/**
 * The package's folder, which contains its addon, models and worker threads. It is found even if the package's code was
 * bundled into another file.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** createRequire is not imported, since bundlers would replace its calls. */
const requireFrom = (file: string): NodeJS.Require => process.getBuiltinModule('node:module').createRequire(file);

/** The file with this code. CommonJS bundles have no `import.meta.url`; then the script, or a path in the folder. */
const here = (): string =>
  import.meta.url ? fileURLToPath(import.meta.url) : (process.argv[1] ?? join(process.cwd(), 'x'));

function isPackage(folder: string): boolean {
  const file = join(folder, 'package.json');
  return existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { name?: string }).name === 'onehead';
}

function find(): string {
  let folder = dirname(here());
  while (!isPackage(folder) && dirname(folder) !== folder) folder = dirname(folder);
  if (isPackage(folder)) return folder;
  // In a bundle: the package is installed next to it, or in the working directory.
  for (const from of [here(), join(process.cwd(), 'x')]) {
    try {
      return dirname(requireFrom(from).resolve('onehead/package.json'));
    } catch {}
  }
  return dirname(here());
}

let root: string | undefined;

/** The package's folder, for code in lib/, dist/ and bundles. */
export function packageRoot(): string {
  root ??= find();
  return root;
}

/** Requires a module as files of the package do, wherever this code is. */
export function requireFromPackage(name: string): ReturnType<NodeJS.Require> {
  return requireFrom(join(packageRoot(), 'package.json'))(name);
}

/** Resolves a module as files of the package do. Throws if it does not exist. */
export function resolveFromPackage(name: string): string {
  return requireFrom(join(packageRoot(), 'package.json')).resolve(name);
}
