import { readFile } from 'node:fs/promises';
import { OneheadError } from '../../errors.js';
import { foreignContent, signatureBytes } from './foreign.js';

/** Reads a JSON file. Returns null if it does not exist. Throws OneheadError MODEL_INVALID if it is not valid JSON. */
export async function readJson(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new OneheadError('MODEL_INVALID', `Cannot read ${file}: ${(cause as Error).message}.`, { cause });
  }
  try {
    return JSON.parse(text);
  } catch {
    const foreign = foreignContent(Buffer.from(text.slice(0, signatureBytes), 'latin1'));
    throw new OneheadError('MODEL_INVALID', `${file} is ${foreign ?? 'not JSON; download it again'}.`);
  }
}
