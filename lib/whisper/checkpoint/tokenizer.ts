/** Text to tokens and back, on @huggingface/tokenizers. */
import { join } from 'node:path';
import type { Tokenizer } from '@huggingface/tokenizers';
import { OneheadError } from '../../errors.js';
import type { GenerationConfig, SpecialTokens } from './config.js';
import { readJson } from './json.js';

interface TokenizerJson {
  added_tokens?: { id: number; content: string }[];
}

async function readTokenizerJson(directory: string): Promise<TokenizerJson | null> {
  const json = await readJson(join(directory, 'tokenizer.json'));
  if (json !== null && (typeof json !== 'object' || Array.isArray(json))) {
    throw new OneheadError(
      'MODEL_INVALID',
      `${join(directory, 'tokenizer.json')} is not a tokenizer; download it again.`,
    );
  }
  return json as TokenizerJson | null;
}

/** Special tokens' ids by their text, as far as the folder tells. */
export async function readSpecialTokens(directory: string): Promise<SpecialTokens> {
  const special = new Map<string, number>();
  const added = (await readJson(join(directory, 'added_tokens.json'))) as Record<string, unknown> | null;
  for (const [text, id] of Object.entries(added ?? {})) if (Number.isInteger(id)) special.set(text, id as number);
  const json = await readTokenizerJson(directory);
  for (const token of Array.isArray(json?.added_tokens) ? json.added_tokens : []) {
    if (typeof token?.content === 'string' && Number.isInteger(token.id)) special.set(token.content, token.id);
  }
  return special;
}

export class WhisperTokenizer {
  readonly #tokenizer: Tokenizer;
  /** Ids from here on are not text: the end token, tasks, languages and timestamps. */
  readonly firstSpecial: number;

  private constructor(tokenizer: Tokenizer, firstSpecial: number) {
    this.#tokenizer = tokenizer;
    this.firstSpecial = firstSpecial;
  }

  /** Throws OneheadError MODEL_NOT_FOUND or MODEL_INVALID. */
  static async read(directory: string, generation: GenerationConfig): Promise<WhisperTokenizer> {
    const json = await readTokenizerJson(directory);
    if (json === null) {
      throw new OneheadError(
        'MODEL_NOT_FOUND',
        `${directory} holds no tokenizer.json; make one with transformers: AutoTokenizer.from_pretrained(...).save_pretrained(...).`,
      );
    }
    const config = (await readJson(join(directory, 'tokenizer_config.json'))) ?? {};
    try {
      const { Tokenizer } = await import('@huggingface/tokenizers');
      const tokenizer = new Tokenizer(json, config as object);
      return new WhisperTokenizer(tokenizer, Math.min(generation.endToken, generation.startToken));
    } catch (cause) {
      throw new OneheadError(
        'MODEL_INVALID',
        `${join(directory, 'tokenizer.json')} cannot be used: ${(cause as Error).message}; download it again.`,
        { cause },
      );
    }
  }

  /** The text of these tokens; special tokens and timestamps are left out. Bytes of one character may be spread over tokens. */
  decode(tokens: readonly number[]): string {
    const text = tokens.filter((id) => id < this.firstSpecial);
    if (text.length === 0) return '';
    return this.#tokenizer.decode(text, { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  }

  /** The tokens of a text, without special tokens around them. */
  encode(text: string): number[] {
    return this.#tokenizer.encode(text, { add_special_tokens: false }).ids;
  }
}
