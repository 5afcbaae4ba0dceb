import { inspect } from 'node:util';
import { expect, it } from 'vitest';
import { OneheadError } from '../lib/errors.js';

it('a printed error lists the details that it has, and no others', () => {
  const error = new OneheadError('BUSY', 'All rows are taken.', { retryAfter: 2, argument: undefined });
  expect(error.retryAfter).toBe(2);
  expect(error.operation).toBeUndefined();
  const printed = inspect(error);
  expect(printed).toMatch(/code: 'BUSY',\s+retryAfter: 2\s+\}$/);
  expect(printed).not.toContain('undefined');
});
