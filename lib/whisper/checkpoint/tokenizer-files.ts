/** Reads a folder's tokenizer: tokenizer.json, or the files that transformers' slow tokenizers save instead. */
import { join } from 'node:path';
import { OneheadError } from '../../errors.js';
import type { SpecialTokens } from './config.js';
import { readJson, readText } from './json.js';
import { type TokenTable, tokenTable } from './token-table.js';
import { scanTokenizer } from './tokenizer-scan.js';

export interface AddedToken {
  id: number;
  content: string;
  special: boolean;
  single_word: boolean;
  lstrip: boolean;
  rstrip: boolean;
  normalized: boolean;
}

/** The fields of tokenizer.json that are read here. */
export interface TokenizerJson {
  added_tokens: AddedToken[];
  model: { vocab: Record<string, number>; merges?: unknown };
}

export interface TokenizerFiles {
  /** The file that messages name. */
  file: string;
  /** tokenizer.json; if there is a table, without vocabulary and merges. */
  json: TokenizerJson;
  /** Vocabulary and merges; null if they are in `json`, because they are not a byte-level BPE. */
  table: TokenTable | null;
  /** tokenizer_config.json. */
  config: Record<string, unknown>;
}

type Json = Record<string, unknown>;

const invalid = (file: string, problem: string) =>
  new OneheadError('MODEL_INVALID', `${file} ${problem}; download or export it again.`);

/** A JSON object; null if the file does not exist. */
async function readObject(file: string): Promise<Json | null> {
  const json = await readJson(file);
  if (json !== null && (typeof json !== 'object' || Array.isArray(json))) throw invalid(file, 'is not a JSON object');
  return json as Json | null;
}

const isId = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function isToken(value: unknown): value is { content: string; id?: unknown; special?: unknown } {
  return typeof value === 'object' && value !== null && typeof (value as Json).content === 'string';
}

/** Texts of special tokens in special_tokens_map.json: strings, objects with a `content`, or lists of either. */
function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (Array.isArray(value)) return value.flatMap(textsOf);
  return isToken(value) ? [value.content] : [];
}

const specialFields = [
  'bos_token',
  'eos_token',
  'unk_token',
  'pad_token',
  'sep_token',
  'cls_token',
  'mask_token',
  'additional_special_tokens',
  'extra_special_tokens',
];

/** The tokens that added_tokens.json, special_tokens_map.json and tokenizer_config.json add to a vocabulary. */
async function addedTokens(directory: string, config: Json, vocabulary: Json): Promise<AddedToken[]> {
  const file = join(directory, 'added_tokens.json');
  const added = (await readObject(file)) ?? {};
  const map = (await readObject(join(directory, 'special_tokens_map.json'))) ?? {};
  const special = new Set(specialFields.flatMap((field) => [...textsOf(map[field]), ...textsOf(config[field])]));
  const tokens = new Map<number, AddedToken>();
  const add = (id: unknown, content: string, flags: Json = {}, from = file) => {
    if (!isId(id)) throw invalid(from, `has no valid id of '${content.slice(0, 40)}'`);
    const isSpecial = flags.special === true || special.has(content);
    tokens.set(id, {
      id,
      content,
      special: isSpecial,
      single_word: flags.single_word === true,
      lstrip: flags.lstrip === true,
      rstrip: flags.rstrip === true,
      normalized: typeof flags.normalized === 'boolean' ? flags.normalized : !isSpecial,
    });
  };
  // Special tokens may be in the vocabulary too, such as <|endoftext|>.
  for (const content of special) if (Object.hasOwn(vocabulary, content)) add(vocabulary[content], content);
  for (const [content, id] of Object.entries(added)) add(id, content);
  const decoder = config.added_tokens_decoder;
  if (typeof decoder === 'object' && decoder !== null) {
    for (const [id, token] of Object.entries(decoder))
      if (isToken(token)) add(Number(id), token.content, token as Json, join(directory, 'tokenizer_config.json'));
  }
  return [...tokens.values()].sort((a, b) => a.id - b.id);
}

/** The pairs of merges.txt, in order. Throws OneheadError MODEL_INVALID if it is not that of the vocabulary. */
function mergesOf(text: string, file: string, vocabulary: Json): [string, string][] {
  const merges = pairsOf(text, file);
  const isKnown = (token: string) => Object.hasOwn(vocabulary, token);
  for (const [left, right] of merges) {
    const unknown = [left, right, left + right].find((token) => !isKnown(token));
    if (unknown !== undefined)
      throw invalid(file, `merges '${unknown.slice(0, 40)}', which vocab.json does not contain`);
  }
  // Training adds one token with each merge. Tokens that were added later have none.
  const merged = Object.keys(vocabulary).filter((token) => token.length > 1 && !/^<.*>$/.test(token)).length;
  if (2 * merges.length < merged)
    throw invalid(file, `has only ${merges.length} merges for ${merged} tokens of vocab.json`);
  return merges;
}

function pairsOf(text: string, file: string): [string, string][] {
  return text
    .split('\n')
    .map((line) => line.replace(/\r$/, ''))
    .filter((line, index) => line !== '' && !(index === 0 && line.startsWith('#version')))
    .map((line) => {
      const pair = line.split(' ');
      if (pair.length !== 2) throw invalid(file, `has the line '${line.slice(0, 40)}', which is not a pair of tokens`);
      return pair as [string, string];
    });
}

/**
 * The tokenizer of a byte-level BPE, with the tokenizer.json that transformers' fast tokenizers write. `spaceBefore` is
 * add_prefix_space of encoding, `spaceDecoded` of decoding.
 */
export function bytePairFiles(parts: {
  file: string;
  addedTokens: AddedToken[];
  spaceBefore: boolean;
  spaceDecoded: boolean;
  vocabulary: Record<string, number>;
  merges: readonly (readonly [string, string])[];
}): Omit<TokenizerFiles, 'config'> {
  const table = tokenTable(Object.entries(parts.vocabulary), parts.merges);
  const bytes = { type: 'ByteLevel', trim_offsets: true, use_regex: true };
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: parts.addedTokens,
    normalizer: null,
    pre_tokenizer: { ...bytes, add_prefix_space: parts.spaceBefore },
    post_processor: null, // the prompt adds the special tokens around a text
    decoder: { ...bytes, add_prefix_space: parts.spaceDecoded },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      vocab: table ? {} : parts.vocabulary,
      merges: table ? [] : parts.merges,
    },
  };
  return { file: parts.file, json, table };
}

/** tokenizer.json with vocabulary and merges. */
export function wholeJson({ json, table }: TokenizerFiles): TokenizerJson {
  if (!table) return json;
  const vocab = Object.fromEntries(table.entries());
  return { ...json, model: { ...json.model, vocab, merges: table.mergedTexts() } };
}

/** The texts and ids of the vocabulary, without tokens that were only added. */
export function tokensOf({ json, table }: TokenizerFiles): Iterable<[string, number]> {
  return table ? table.entries() : Object.entries(json.model.vocab);
}

/**
 * The byte-level BPE that transformers' fast tokenizer makes from vocab.json and merges.txt; null if there is no
 * vocab.json.
 */
async function fromVocabulary(directory: string, config: Json): Promise<Omit<TokenizerFiles, 'config'> | null> {
  const file = join(directory, 'vocab.json');
  const vocabulary = await readObject(file);
  if (vocabulary === null) return null;
  if (!Object.values(vocabulary).every(isId)) throw invalid(file, 'does not map texts to ids');
  const mergesFile = join(directory, 'merges.txt');
  const text = await readText(mergesFile);
  if (text === null) {
    const problem = `${directory} holds vocab.json but no merges.txt; copy the tokenizer of the model again.`;
    throw new OneheadError('MODEL_INVALID', problem);
  }
  return bytePairFiles({
    file,
    addedTokens: await addedTokens(directory, config, vocabulary),
    spaceBefore: config.add_prefix_space === true,
    spaceDecoded: true,
    vocabulary: vocabulary as Record<string, number>,
    merges: mergesOf(text, mergesFile, vocabulary),
  });
}

const isMerge = (merge: unknown) => {
  const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
  return Array.isArray(pair) && pair.length === 2 && pair.every((text) => typeof text === 'string' && text !== '');
};

/** Throws OneheadError MODEL_INVALID if vocabulary or merges of a tokenizer.json have invalid types. */
function checkModel(file: string, { vocab, merges }: Json): void {
  const shorten = (value: unknown) => JSON.stringify(value).slice(0, 80);
  const entry = Object.entries(vocab as Json).find(([, id]) => !isId(id));
  if (entry) throw invalid(file, `gives the token ${shorten(entry[0])} the id ${shorten(entry[1])}`);
  if (!Array.isArray(merges)) throw invalid(file, 'has no list of merges');
  const wrong = merges.findIndex((merge) => !isMerge(merge));
  if (wrong >= 0) throw invalid(file, `has the merge ${shorten(merges[wrong])}, which is not a pair of tokens`);
}

/** Null if the folder has neither tokenizer.json nor vocab.json. Throws OneheadError MODEL_INVALID. */
export async function readTokenizerFiles(directory: string): Promise<TokenizerFiles | null> {
  const config = (await readObject(join(directory, 'tokenizer_config.json'))) ?? {};
  const file = join(directory, 'tokenizer.json');
  const scanned = await scanTokenizer(file);
  const json = scanned ? (scanned.json as Json) : await readObject(file);
  if (json === null) {
    const built = await fromVocabulary(directory, config);
    return built && { ...built, config };
  }
  const { added_tokens: added = [], model } = json;
  const { vocab, type = 'BPE' } = (model ?? {}) as Json;
  const valid =
    type === 'BPE' &&
    Array.isArray(added) &&
    added.every((token) => isToken(token) && Number.isSafeInteger(token.id)) &&
    typeof vocab === 'object' &&
    vocab !== null &&
    !Array.isArray(vocab);
  if (!valid) throw invalid(file, 'is not a byte-pair tokenizer such as Whisper has');
  if (!scanned) checkModel(file, model as Json);
  const whole = { ...json, added_tokens: added } as unknown as TokenizerJson;
  return { file, json: whole, table: scanned?.table ?? null, config };
}

/** The ids of special tokens by their text. */
export function specialTokens({ json, table }: TokenizerFiles): SpecialTokens {
  const special = new Map<string, number>();
  const texts = table ? table.entries(new Set(Buffer.from('<'))) : Object.entries(json.model.vocab);
  for (const [text, id] of texts) if (/^<\|.*\|>$/.test(text)) special.set(text, id);
  for (const { content, id } of json.added_tokens) special.set(content, id);
  return special;
}
