/** Packages that only some of batches need. */
import { optional as loaded } from '../optional.js';

/** Loads one, or says what needs it and how it is had. Throws OneheadError NOT_SUPPORTED. */
export function optional<T>(load: () => Promise<T>, what: string, packages: string): Promise<T> {
  return loaded(load, () => `${what} needs packages that are not installed: npm install ${packages}`);
}
