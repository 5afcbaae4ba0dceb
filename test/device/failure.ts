import { expect } from 'vitest';
import { OneheadError } from '../../lib/errors.js';

/** Returns the error that `body` throws or rejects with. */
export async function failure(body: () => unknown): Promise<OneheadError> {
  try {
    await body();
  } catch (error) {
    expect(error).toBeInstanceOf(OneheadError);
    return error as OneheadError;
  }
  throw new Error('expected an error');
}
