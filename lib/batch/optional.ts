/** Optional packages for batch processing. */
import { optional as loadOptional } from '../optional.js';

/** Loads a package. Throws OneheadError NOT_SUPPORTED with the command to install it. */
export function optional<T>(load: () => Promise<T>, feature: string, packages: string): Promise<T> {
  return loadOptional(load, () => `${feature} needs packages that are not installed: npm install ${packages}`);
}
