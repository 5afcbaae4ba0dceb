/** Encodes and decodes text, with @huggingface/tokenizers. */
import type { Tokenizer } from '@huggingface/tokenizers';
import { OneheadError } from '../../errors.js';
import type { GenerationConfig } from './config.js';
import { specialTokens, type TokenizerFiles } from './tokenizer-files.js';

/** Throws OneheadError MODEL_INVALID if the tokenizer's ids are not those of the model. */
function checkTokens(files: TokenizerFiles, generation: GenerationConfig, firstSpecial: number): void {
  const { file, json } = files;
  const mismatch = (problem: string) =>
    new OneheadError('MODEL_INVALID', `${file} ${problem}; the files of this folder do not belong together.`);
  const known = new Uint8Array(firstSpecial);
  for (const id of Object.values(json.model.vocab)) if (id < firstSpecial) known[id] = 1;
  for (const { id } of json.added_tokens) if (id < firstSpecial) known[id] = 1;
  const unknown = known.indexOf(0);
  if (unknown >= 0)
    throw mismatch(`has no token ${unknown}, which the model can write (ids below ${firstSpecial} are text)`);
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
      throw mismatch(`gives ${text} the id ${found}, the model ${id}`);
  }
}

/**
 * The bytes of the characters in GPT-2's vocabularies: printable bytes are written as themselves, the others as the
 * characters from 256 on, in order.
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
   * Ids from here to `#timestampEnd` are the end token, tasks, languages and timestamps. Later ones were added to the
   * vocabulary, and may be text.
   */
  readonly #firstSpecial: number;
  readonly #timestampEnd: number;
  readonly #special: ReadonlySet<number>;
  readonly #vocabulary: Record<string, number>;
  #byId: Map<number, string> | null = null;

  private constructor(tokenizer: Tokenizer, { json }: TokenizerFiles, firstSpecial: number, timestampEnd: number) {
    this.#tokenizer = tokenizer;
    this.#firstSpecial = firstSpecial;
    this.#timestampEnd = timestampEnd;
    this.#vocabulary = json.model.vocab;
    this.#special = new Set(json.added_tokens.filter(({ special }) => special).map(({ id }) => id));
  }

  /** Throws OneheadError MODEL_INVALID if the files are no usable tokenizer of this model. */
  static async of(files: TokenizerFiles, generation: GenerationConfig): Promise<WhisperTokenizer> {
    const firstSpecial = Math.min(generation.endToken, generation.startToken);
    checkTokens(files, generation, firstSpecial);
    try {
      const { Tokenizer } = await import('@huggingface/tokenizers');
      const tokenizer = new Tokenizer(files.json, files.config);
      const made = new WhisperTokenizer(tokenizer, files, firstSpecial, generation.timestampEnd);
      if (made.encode(' a').length === 0) throw new Error('it does not encode text');
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
   * True for a token of text: not the end token, a task, a language or a timestamp. Text that was added to the
   * vocabulary has ids after the timestamps.
   */
  isText(id: number): boolean {
    return id < this.#firstSpecial || (id >= this.#timestampEnd && !this.#special.has(id));
  }

  /**
   * The text of these tokens, without special tokens and timestamps. Decode neighbouring tokens together, since the
   * bytes of one character may be spread over several.
   */
  decode(tokens: readonly number[]): string {
    const text = tokens.filter((id) => this.isText(id));
    if (text.length === 0) return '';
    return this.#tokenizer.decode(text, { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  }

  /** The bytes of a token of text, possibly only a part of a character; empty for any other token. */
  bytes(id: number): Uint8Array {
    if (!this.isText(id)) return new Uint8Array();
    const piece = this.#pieces.get(id);
    // Tokens that were added to the vocabulary are written as plain text.
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
   * The tokens of a text, without special tokens around them. Text that looks like a special token, such as
   * <|endoftext|>, is encoded as plain characters unless `special` is true.
   */
  encode(text: string, { special = false } = {}): number[] {
    // The BPE's pattern divides words after <| anyway. After this split no part holds a whole special token.
    const parts = special ? [text] : text.split(/(?<=<\|)(?=[\p{L}\p{N}])/u);
    return parts.flatMap((part) => this.#tokenizer.encode(part, { add_special_tokens: false }).ids);
  }
}
