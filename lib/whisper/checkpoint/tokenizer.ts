/** Text to tokens and back, on @huggingface/tokenizers. */
import type { Tokenizer } from '@huggingface/tokenizers';
import { OneheadError } from '../../errors.js';
import type { GenerationConfig } from './config.js';
import { specialTokens, type TokenizerFiles } from './tokenizer-files.js';

/** Throws OneheadError MODEL_INVALID where the tokens are not those that the model writes. */
function checkTokens(files: TokenizerFiles, generation: GenerationConfig, firstSpecial: number): void {
  const { file, json } = files;
  const apart = (problem: string) =>
    new OneheadError('MODEL_INVALID', `${file} ${problem}; the files of this folder do not belong together.`);
  const known = new Uint8Array(firstSpecial);
  for (const id of Object.values(json.model.vocab)) if (id < firstSpecial) known[id] = 1;
  for (const { id } of json.added_tokens) if (id < firstSpecial) known[id] = 1;
  const unknown = known.indexOf(0);
  if (unknown >= 0)
    throw apart(`has no token ${unknown}, which the model can write (ids below ${firstSpecial} are text)`);
  const special = specialTokens(files);
  const expected: [string, number | null][] = [
    ['<|endoftext|>', generation.endToken],
    ['<|startoftranscript|>', generation.startToken],
    ['<|notimestamps|>', generation.noTimestampsToken],
    ...Array.from(generation.languages, ([code, id]): [string, number] => [`<|${code}|>`, id]),
  ];
  for (const [text, id] of expected) {
    const found = special.get(text);
    if (id !== null && found !== undefined && found !== id)
      throw apart(`gives ${text} the id ${found}, the model ${id}`);
  }
}

/**
 * The letters that stand for bytes in a vocabulary of GPT-2's kind: printable ones for themselves, those from 256 on
 * for the others in order.
 */
const byteOf: ReadonlyMap<string, number> = new Map(
  (() => {
    const isPrinted = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    let next = 256;
    return Array.from({ length: 256 }, (_, byte): [string, number] => [
      String.fromCodePoint(isPrinted(byte) ? byte : next++),
      byte,
    ]);
  })(),
);

export class WhisperTokenizer {
  readonly #tokenizer: Tokenizer;
  /**
   * Ids from here on are the end token, tasks, languages and timestamps, up to `#behind`, from which on text may have
   * been added.
   */
  readonly #firstSpecial: number;
  readonly #behind: number;
  readonly #special: ReadonlySet<number>;
  readonly #vocabulary: Record<string, number>;
  #byId: Map<number, string> | null = null;

  private constructor(tokenizer: Tokenizer, { json }: TokenizerFiles, firstSpecial: number, behind: number) {
    this.#tokenizer = tokenizer;
    this.#firstSpecial = firstSpecial;
    this.#behind = behind;
    this.#vocabulary = json.model.vocab;
    this.#special = new Set(json.added_tokens.filter(({ special }) => special).map(({ id }) => id));
  }

  /** Throws OneheadError MODEL_INVALID. */
  static async of(files: TokenizerFiles, generation: GenerationConfig): Promise<WhisperTokenizer> {
    const firstSpecial = Math.min(generation.endToken, generation.startToken);
    checkTokens(files, generation, firstSpecial);
    try {
      const { Tokenizer } = await import('@huggingface/tokenizers');
      const tokenizer = new Tokenizer(files.json, files.config);
      const made = new WhisperTokenizer(tokenizer, files, firstSpecial, generation.timestampEnd);
      if (made.encode(' a').length === 0) throw new Error('it makes no tokens of text');
      made.decode([0]);
      return made;
    } catch (cause) {
      throw new OneheadError(
        'MODEL_INVALID',
        `${files.file} cannot be used: ${(cause as Error).message.slice(0, 200)}; download it again.`,
        { cause },
      );
    }
  }

  /**
   * True for a token of text: not the end token, a task, a language or a timestamp. Text may have been added behind the
   * timestamps.
   */
  isText(id: number): boolean {
    return id < this.#firstSpecial || (id >= this.#behind && !this.#special.has(id));
  }

  /**
   * The text of these tokens; special tokens and timestamps are left out. Bytes of one character may be spread over
   * tokens.
   */
  decode(tokens: readonly number[]): string {
    const text = tokens.filter((id) => this.isText(id));
    if (text.length === 0) return '';
    return this.#tokenizer.decode(text, { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  }

  /** The bytes of a token of text, which may be a part of a character's; none of any other token. */
  bytes(id: number): Uint8Array {
    if (!this.isText(id)) return new Uint8Array();
    const piece = this.#pieces.get(id);
    // Tokens that were added to the vocabulary are written as they are.
    if (piece === undefined || [...piece].some((letter) => !byteOf.has(letter))) {
      return new TextEncoder().encode(this.decode([id]));
    }
    return Uint8Array.from([...piece], (letter) => byteOf.get(letter)!);
  }

  get #pieces(): ReadonlyMap<number, string> {
    this.#byId ??= new Map(Object.entries(this.#vocabulary).map(([piece, id]) => [id, piece]));
    return this.#byId;
  }

  /**
   * The tokens of a text, without special tokens around them. What looks like a special token, such as <|endoftext|>,
   * is plain characters unless `special` is true.
   */
  encode(text: string, { special = false } = {}): number[] {
    // Behind <| the pattern divides words anyway, and no part then holds the whole of a special token.
    const parts = special ? [text] : text.split(/(?<=<\|)(?=[\p{L}\p{N}])/u);
    return parts.flatMap((part) => this.#tokenizer.encode(part, { add_special_tokens: false }).ids);
  }
}
