/**
 * Where the package lies: its addon, models and threads are found from there, also where its code was bundled into
 * another file.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Not imported: bundlers would take its calls for their own. */
const requireFrom = (file: string): NodeJS.Require => process.getBuiltinModule('node:module').createRequire(file);

/** The file that this code is in; bundles of CommonJS have no `import.meta.url`. */
const here = (): string =>
  import.meta.url ? fileURLToPath(import.meta.url) : (process.argv[1] ?? join(process.cwd(), 'x'));

function isOurs(folder: string): boolean {
  const file = join(folder, 'package.json');
  return existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { name?: string }).name === 'onehead';
}

function find(): string {
  let folder = dirname(here());
  while (!isOurs(folder) && dirname(folder) !== folder) folder = dirname(folder);
  if (isOurs(folder)) return folder;
  // A bundle: the package is installed beside it, or where the program was started.
  for (const from of [here(), join(process.cwd(), 'x')]) {
    try {
      return dirname(requireFrom(from).resolve('onehead/package.json'));
    } catch {}
  }
  return dirname(here());
}

let root: string | undefined;

/** The package's folder, from lib/, from dist/ and from bundles alike. */
export function packageRoot(): string {
  root ??= find();
  return root;
}

/** Requires as the package's own files would, wherever this code is. */
export function requireFromPackage(name: string): ReturnType<NodeJS.Require> {
  return requireFrom(join(packageRoot(), 'package.json'))(name);
}

/** The file that this name stands for to the package's own files. Throws where there is none. */
export function resolveFromPackage(name: string): string {
  return requireFrom(join(packageRoot(), 'package.json')).resolve(name);
}
