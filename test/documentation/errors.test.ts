/** docs/errors.md has all codes of lib/errors.ts, in their order, with the server's status. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { errorCodes, httpStatus, OneheadError } from '../../lib/errors.js';
import { asApiError } from '../../lib/server/service/api-error.js';
import { root } from '../cli/command.js';

const page = readFileSync(join(root, 'docs/errors.md'), 'utf8');
const rows = [...page.matchAll(/^\| `([A-Z_]+)` \| (.+) \| (.+) \| (\d+) \|$/gm)].map(
  ([, code, means, advice, status]) => ({
    ...{ code, means, advice },
    status: Number(status),
  }),
);

it('docs/errors.md has all codes of lib/errors.ts', () => {
  expect(rows.map(({ code }) => code)).toEqual(errorCodes);
});

it.each(rows)('$code is explained, with the status of the server', ({ code, means, advice, status }) => {
  for (const text of [means, advice]) expect(text).toMatch(/^[A-Z].*\.$/);
  const error = new OneheadError(code as (typeof errorCodes)[number], 'x');
  expect(asApiError(error).status).toBe(status);
  expect(httpStatus(error)).toBe(status);
});

it('an error of another class is the status of a defect', () => expect(httpStatus(new Error('x'))).toBe(500));
