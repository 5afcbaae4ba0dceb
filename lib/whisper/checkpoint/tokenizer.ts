/** Encodes and decodes a model's text. */
import { OneheadError } from '../../errors.js';
import { ByteLevelTokenizer, type TextCodec } from './byte-level.js';
import type { GenerationConfig } from './config.js';
import { libraryTokenizer } from './library-tokenizer.js';
import { specialTokens, type TokenizerFiles } from './tokenizer-files.js';

/** Throws OneheadError MODEL_INVALID if the tokenizer's ids are not those of the model. */
function checkTokens(files: TokenizerFiles, generation: GenerationConfig, firstSpecial: number): void {
  const { file, json, table } = files;
  const mismatch = (problem: string) =>
    new OneheadError('MODEL_INVALID', `${file} ${problem}; the files of this folder do not belong together.`);
  const known = new Uint8Array(firstSpecial);
  for (const id of Object.values(json.model.vocab)) if (id < firstSpecial) known[id] = 1;
  for (let id = 0; table && id < Math.min(table.size, firstSpecial); ++id) if (table.has(id)) known[id] = 1;
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

export class WhisperTokenizer {
  readonly #codec: TextCodec;
  /**
   * Ids from here to `#timestampEnd` are the end token, tasks, languages and timestamps. Later ones were added to the
   * vocabulary, and may be text.
   */
  readonly #firstSpecial: number;
  readonly #timestampEnd: number;
  readonly #special: ReadonlySet<number>;

  private constructor(codec: TextCodec, { json }: TokenizerFiles, firstSpecial: number, timestampEnd: number) {
    this.#codec = codec;
    this.#firstSpecial = firstSpecial;
    this.#timestampEnd = timestampEnd;
    this.#special = new Set(json.added_tokens.filter(({ special }) => special).map(({ id }) => id));
  }

  /** Throws OneheadError MODEL_INVALID if the files are not a usable tokenizer of this model. */
  static async of(files: TokenizerFiles, generation: GenerationConfig): Promise<WhisperTokenizer> {
    const firstSpecial = Math.min(generation.endToken, generation.startToken);
    checkTokens(files, generation, firstSpecial);
    try {
      const codec = ByteLevelTokenizer.of(files) ?? (await libraryTokenizer(files));
      const made = new WhisperTokenizer(codec, files, firstSpecial, generation.timestampEnd);
      if (made.encode(' a').length === 0) throw new Error('it does not encode text');
      const back = made.decode(made.encode(' a'));
      if (back.trim() !== 'a') throw new Error(`it encodes the text 'a' and decodes '${back.slice(0, 40)}'`);
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
    return text.length === 0 ? '' : this.#codec.decode(text);
  }

  /** The bytes of a token of text, possibly only a part of a character; empty for any other token. */
  bytes(id: number): Uint8Array {
    return this.isText(id) ? this.#codec.bytes(id) : new Uint8Array();
  }

  /**
   * The tokens of a text, without special tokens around them. Text that looks like a special token, such as
   * <|endoftext|>, is encoded as plain characters unless `special` is true.
   */
  encode(text: string, { special = false } = {}): number[] {
    return this.#codec.encode(text, special ? undefined : (id) => !this.isText(id));
  }
}
