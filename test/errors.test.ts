import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { expect, it } from 'vitest';
import { OneheadError, reasonOf } from '../lib/errors.js';

it('a printed error lists the details that it has, and no others', () => {
  const error = new OneheadError('BUSY', 'All rows are taken.', { retryAfter: 2, argument: undefined });
  expect(error.retryAfter).toBe(2);
  expect(error.operation).toBeUndefined();
  const printed = inspect(error);
  expect(printed).toMatch(/code: 'BUSY',\s+retryAfter: 2\s+\}$/);
  expect(printed).not.toContain('undefined');
});

it('the reason of a system error is a clause without code, system call and path', () => {
  const reasonOfReading = (path: string) => {
    try {
      return String(readFileSync(path));
    } catch (cause) {
      return reasonOf(cause);
    }
  };
  expect(reasonOfReading('/nowhere, open/talk.mp3')).toBe('there is no such file or folder');
  expect(reasonOfReading('/')).toBe('it is a folder');
  const error = (message: string) => Object.assign(new Error(message), { code: 'EIO', syscall: 'read' });
  expect(reasonOf(error('EIO: i/o error, read'))).toBe('i/o error');
  expect(reasonOf(error('the tape is torn.'))).toBe('the tape is torn');
});
