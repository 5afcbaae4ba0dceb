/** Makes a tokenizer from a list of tokens, for checkpoints without tokenizer.json. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OneheadError } from '../../errors.js';
import { packageRoot } from '../../package-root.js';
import { bytePairs, derivedMerges, rankOf, singleBytes, textOf } from './byte-pairs.js';
import type { SpecialTokens } from './config.js';
import { languageNames } from './languages.js';
import { type AddedToken, bytePairFiles, type TokenizerFiles } from './tokenizer-files.js';

export interface Vocabulary {
  /** Tokens of text in the order of their ids, in the characters of `textOf`. */
  tokens: readonly string[];
  /** The two parts of each merged token; derived from the tokens if absent. */
  merges?: readonly (readonly [string, string])[];
}

/** OpenAI's vocabularies: GPT-2's, of the English-only models, and Whisper's. */
export type StockVocabulary = 'english' | 'multilingual';

/** Their numbers of text tokens. */
export const stockTokens: Record<StockVocabulary, number> = { english: 50256, multilingual: 50257 };

const loaded = new Map<StockVocabulary, Promise<Vocabulary>>();

/** Imports node:zlib when it is needed: it takes 1 MiB of memory, and most checkpoints have their vocabulary. */
async function decompressed(packed: Buffer): Promise<Buffer> {
  const { brotliDecompress } = await import('node:zlib');
  return new Promise((resolve, reject) => {
    brotliDecompress(packed, (error, data) => (error ? reject(error) : resolve(data)));
  });
}

async function unpack(name: StockVocabulary): Promise<Vocabulary> {
  const packed = await readFile(join(packageRoot(), 'models', 'vocabularies', `${name}.br`));
  const data = await decompressed(packed);
  // The file holds the pair of each token after the single bytes, as 16-bit ids.
  const tokens = [...singleBytes];
  const merges: [string, string][] = [];
  for (let at = 0; at < data.length; at += 4) {
    const pair: [string, string] = [tokens[data.readUInt16LE(at)], tokens[data.readUInt16LE(at + 2)]];
    merges.push(pair);
    tokens.push(pair[0] + pair[1]);
  }
  if (name === 'multilingual') tokens.push(''); // its last token has no text
  return { tokens, merges };
}

/** Reads one of OpenAI's vocabularies from the package. */
export function stockVocabulary(name: StockVocabulary): Promise<Vocabulary> {
  let vocabulary = loaded.get(name);
  if (!vocabulary) {
    vocabulary = unpack(name);
    loaded.set(name, vocabulary);
  }
  return vocabulary;
}

/** The vocabulary of these tokens, with the merges if it is one of OpenAI's. */
export async function vocabularyOf(tokens: readonly string[]): Promise<Vocabulary> {
  for (const name of ['multilingual', 'english'] as const) {
    if (tokens.length !== stockTokens[name]) continue;
    const stock = await stockVocabulary(name);
    if (stock.tokens.every((token, id) => token === tokens[id])) return stock;
  }
  return { tokens };
}

/** Limit of the work to derive merges: the sum of the tokens' squared lengths. Real vocabularies stay far below it. */
const maximumWork = 1 << 26;

/** The tokenizer of a vocabulary. Throws OneheadError MODEL_INVALID, naming `file`, if the tokens are too long. */
export function tokenizerOf({ tokens, merges }: Vocabulary, special: SpecialTokens, file: string): TokenizerFiles {
  if (!merges && tokens.reduce((work, { length }) => work + length * length, 0) > maximumWork) {
    throw new OneheadError('MODEL_INVALID', `The tokens of ${file} are too long for a vocabulary; download it again.`);
  }
  const files = bytePairFiles({
    file,
    addedTokens: [...special].map(
      ([content, id]): AddedToken => ({
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: !/^<\|\d/.test(content),
      }),
    ),
    spaceBefore: false,
    spaceDecoded: false,
    vocabulary: Object.fromEntries(rankOf(tokens)),
    merges: merges ?? derivedMerges(tokens),
  });
  return { ...files, config: {} };
}

/**
 * Special tokens in openai/whisper's order, after `text` tokens of text. `timestamps` is the number of timestamp
 * tokens, which are 20 ms apart.
 */
export function specialTokensBehind(text: number, languages: number, timestamps: number): Map<string, number> {
  const names = [
    '<|endoftext|>',
    '<|startoftranscript|>',
    ...[...languageNames.keys()].slice(0, languages).map((code) => `<|${code}|>`),
    ...['translate', 'transcribe', 'startoflm', 'startofprev', 'nospeech', 'notimestamps'].map((name) => `<|${name}|>`),
    ...Array.from({ length: timestamps }, (_, step) => `<|${(step * 0.02).toFixed(2)}|>`),
  ];
  return new Map(names.map((name, index): [string, number] => [name, text + index]));
}

const symbols = [
  ...'"#()*+/:;<=>@[\\]^_`{|}~「」『』',
  ...'<< >> <<< >>> -- --- -( -[ (\' (" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪'.split(' '),
];
/** If one of these is encoded as several tokens, the first is suppressed: they share it. */
const notes = [...'♩♪♫♬♭♮♯'];

/**
 * The ids that openai/whisper suppresses, in ascending order: symbols, brackets and musical notes, - and ' at the
 * beginning of a word, and special tokens.
 */
export function suppressedTokens({ tokens }: Vocabulary, special: SpecialTokens): number[] {
  const ranks = rankOf(tokens);
  const encode = (text: string) => bytePairs(textOf(Buffer.from(text)), ranks).map((token) => ranks.get(token));
  const found = [encode(' -')[0], encode(" '")[0]];
  for (const symbol of [...symbols, ...notes]) {
    for (const ids of [encode(symbol), encode(` ${symbol}`)]) {
      if (ids.length === 1 || notes.includes(symbol)) found.push(ids[0]);
    }
  }
  for (const name of ['startoftranscript', 'translate', 'transcribe', 'startoflm', 'startofprev', 'nospeech']) {
    found.push(special.get(`<|${name}|>`));
  }
  return [...new Set(found)].filter((id) => id !== undefined).sort((a, b) => a - b);
}
