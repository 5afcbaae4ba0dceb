/** Finds and loads the native addon: the one built here, or the one that the package carries. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { OneheadError } from '../errors.js';
import { packageRoot, requireFromPackage } from '../package-root.js';

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

/** The addon's exports. Throws OneheadError ADDON_UNAVAILABLE with what was found and what to do. */
export function loadAddon(): unknown {
  const root = packageRoot();
  let file: string;
  try {
    file = requireFromPackage('node-gyp-build').resolve(root);
  } catch (cause) {
    throw new OneheadError(
      'ADDON_UNAVAILABLE',
      `onehead has no native addon for ${process.platform}-${process.arch} in ${root}; build it with \`npm run build:native\` there ` +
        '(it needs CMake, a C++20 compiler and oneDNN: `apt-get install g++ cmake ninja-build libdnnl-dev`).',
      { cause },
    );
  }
  try {
    return requireFromPackage(file);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new OneheadError(
      'ADDON_UNAVAILABLE',
      `onehead's native addon ${file} cannot be loaded: ${reason}. A missing library is installed with \`apt-get install libdnnl2 libgomp1\`; ` +
        'otherwise rebuild it on this machine with `npm rebuild onehead --build-from-source`.',
      { cause },
    );
  }
}
