/** Optional peer dependencies, which are loaded on demand. */
import { OneheadError } from './errors.js';

/**
 * Returns what `load` imports. If a package is missing, throws OneheadError NOT_SUPPORTED with the sentence for its
 * name.
 */
export async function optional<T>(load: () => Promise<T>, sentence: (missing: string) => string): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw cause;
    const [, missing = 'one of them'] = /Cannot find package '([^']+)'/.exec(message) ?? [];
    throw new OneheadError('NOT_SUPPORTED', sentence(missing), { cause });
  }
}
