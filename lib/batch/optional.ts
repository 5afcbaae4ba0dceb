/** Packages that only some need. */
import { OneheadError } from '../errors.js';

/** Loads one, or says how it is had. Throws OneheadError NOT_SUPPORTED. */
export async function optional<T>(load: () => Promise<T>, what: string, packages: string): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw cause;
    throw new OneheadError('NOT_SUPPORTED', `${what} needs packages that are not installed: npm install ${packages}`, {
      cause,
    });
  }
}
