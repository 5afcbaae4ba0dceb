/** A tokenizer of a list of tokens: of checkpoints that bring a vocabulary and no tokenizer.json, or neither. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { brotliDecompress } from 'node:zlib';
import { OneheadError } from '../../errors.js';
import { packageRoot } from '../../package-root.js';
import { bytePairs, derivedMerges, rankOf, singleBytes, textOf } from './byte-pairs.js';
import type { SpecialTokens } from './config.js';
import { languageNames } from './languages.js';
import { type AddedToken, bytePairJson, type TokenizerFiles } from './tokenizer-files.js';

export interface Vocabulary {
  /** Tokens of text by their ids, in the characters of `textOf`. */
  tokens: readonly string[];
  /** The two parts of each merged token; derived from the tokens if not known. */
  merges?: readonly (readonly [string, string])[];
}

/** The two vocabularies of openai/whisper's models: GPT-2's, which its English-only models have, and its own. */
export type StockVocabulary = 'english' | 'multilingual';

export const stockTokens: Record<StockVocabulary, number> = { english: 50256, multilingual: 50257 };

const loaded = new Map<StockVocabulary, Promise<Vocabulary>>();

async function unpack(name: StockVocabulary): Promise<Vocabulary> {
  const packed = await readFile(join(packageRoot(), 'models', 'vocabularies', `${name}.br`));
  const data = await promisify(brotliDecompress)(packed);
  // The file is the pairs of each token behind the single bytes, as ids of 16 bits.
  const tokens = [...singleBytes];
  const merges: [string, string][] = [];
  for (let at = 0; at < data.length; at += 4) {
    const pair: [string, string] = [tokens[data.readUInt16LE(at)], tokens[data.readUInt16LE(at + 2)]];
    merges.push(pair);
    tokens.push(pair[0] + pair[1]);
  }
  if (name === 'multilingual') tokens.push(''); // its last token stands for no text
  return { tokens, merges };
}

/** One of the two, which come with the package. */
export function stockVocabulary(name: StockVocabulary): Promise<Vocabulary> {
  let vocabulary = loaded.get(name);
  if (!vocabulary) {
    vocabulary = unpack(name);
    loaded.set(name, vocabulary);
  }
  return vocabulary;
}

/** The vocabulary of these tokens; one of the two of openai/whisper where they are that. */
export async function vocabularyOf(tokens: readonly string[]): Promise<Vocabulary> {
  for (const name of ['multilingual', 'english'] as const) {
    if (tokens.length !== stockTokens[name]) continue;
    const stock = await stockVocabulary(name);
    if (stock.tokens.every((token, id) => token === tokens[id])) return stock;
  }
  return { tokens };
}

/** The most work to derive merges, as the sum of the squares of tokens' lengths. No true vocabulary comes near it. */
const mostWork = 1 << 26;

/** Throws OneheadError MODEL_INVALID where the tokens are longer than a vocabulary's can be. */
export function tokenizerOf({ tokens, merges }: Vocabulary, special: SpecialTokens, file: string): TokenizerFiles {
  if (!merges && tokens.reduce((work, { length }) => work + length * length, 0) > mostWork) {
    throw new OneheadError('MODEL_INVALID', `The tokens of ${file} are too long for a vocabulary; download it again.`);
  }
  const json = bytePairJson({
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
  return { file, json, config: {} };
}

/**
 * Special tokens in openai/whisper's order, behind so many of text. `timestamps` is the number of their 20 ms steps.
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
/** If one of these takes several tokens, its first is suppressed too: they share it. */
const notes = [...'♩♪♫♬♭♮♯'];

/**
 * Tokens of no speech, which openai/whisper never writes: signs, brackets and notes, and - and ' at a word's begin. The
 * special tokens that it suppresses too are behind them. Ids in order.
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
