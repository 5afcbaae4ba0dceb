/** Optional packages for batch processing. */
import { optional as loaded } from '../optional.js';

/** Loads a package. Throws OneheadError NOT_SUPPORTED with the command to install it. */
export function optional<T>(load: () => Promise<T>, what: string, packages: string): Promise<T> {
  return loaded(load, () => `${what} needs packages that are not installed: npm install ${packages}`);
}
