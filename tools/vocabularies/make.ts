/**
 * Makes models/vocabularies of openai/whisper's two lists of ranks:
 *
 *     node --import tsx tools/vocabularies/make.ts WHISPER/whisper/assets
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';
import { derivedMerges, rankOf, textOf } from '../../lib/whisper/checkpoint/byte-pairs.js';

const [assets] = process.argv.slice(2);
for (const [list, name] of [
  ['gpt2', 'english'],
  ['multilingual', 'multilingual'],
]) {
  const tokens = readFileSync(join(assets, `${list}.tiktoken`), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line, index) => {
      const [token, rank] = line.split(' ');
      // Python reads the empty token, which the multilingual list ends with, from a line that begins with '='.
      if (Number(rank) !== index) throw new Error(`${list}: token ${index} has rank ${rank}`);
      return textOf(Buffer.from(token, 'base64'));
    });
  const ranks = rankOf(tokens);
  const merges = derivedMerges(tokens);
  // Every token but the 256 bytes (and an empty one at the end) is a pair of tokens before it.
  merges.forEach(([left, right], index) => {
    if (tokens[256 + index] !== left + right) throw new Error(`${list}: token ${256 + index} is no pair of its own`);
  });
  const pairs = Uint16Array.from(merges.flatMap((pair) => pair.map((token) => ranks.get(token)!)));
  const data = Buffer.from(pairs.buffer);
  const packed = brotliCompressSync(data, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
      [constants.BROTLI_PARAM_SIZE_HINT]: data.length,
    },
  });
  writeFileSync(new URL(`../../models/vocabularies/${name}.br`, import.meta.url), packed);
  process.stdout.write(`${name}: ${tokens.length} tokens, ${merges.length} pairs, ${packed.length} bytes\n`);
}
