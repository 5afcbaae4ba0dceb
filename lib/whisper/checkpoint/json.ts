import { readFile } from 'node:fs/promises';
import { OneheadError } from '../../errors.js';
import { parseJson, withoutByteOrderMark } from '../../json.js';
import { reading } from '../files/bytes.js';
import { foreignContent, signatureBytes } from './foreign.js';

/**
 * Reads a text file, without its byte order mark. Returns null if it does not exist. Throws OneheadError MODEL_INVALID
 * if it cannot be read.
 */
export function readText(file: string): Promise<string | null> {
  return reading(file, () =>
    readFile(file, 'utf8').then(withoutByteOrderMark, (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    }),
  );
}

/**
 * Reads a JSON file. Returns null if it does not exist. Throws OneheadError MODEL_INVALID if it cannot be read or is
 * not valid JSON.
 */
export async function readJson(file: string): Promise<unknown> {
  const text = await readText(file);
  if (text === null) return null;
  try {
    return parseJson(text);
  } catch {
    const foreign = foreignContent(Buffer.from(text.slice(0, signatureBytes), 'latin1'));
    throw new OneheadError('MODEL_INVALID', `${file} is ${foreign ?? 'not JSON; download it again'}.`);
  }
}
