/** Packages that only some need: optional peers, which are loaded when they are first wanted. */
import { OneheadError } from './errors.js';

/**
 * Gives what `load` imports. Throws OneheadError NOT_SUPPORTED where a package is missing, with a sentence on
 * `missing`, its name.
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
