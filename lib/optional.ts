/** Optional peer dependencies, which are loaded on demand. */
import { OneheadError } from './errors.js';

/** Returns what `load` imports. Throws OneheadError NOT_SUPPORTED with `message(package)` if a package is missing. */
export async function optional<T>(load: () => Promise<T>, message: (missing: string) => string): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    const { code, message: reason } = cause as NodeJS.ErrnoException;
    if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw cause;
    const [, missing = 'one of them'] = /Cannot find package '([^']+)'/.exec(reason) ?? [];
    throw new OneheadError('NOT_SUPPORTED', message(missing), { cause });
  }
}
