/** Encodes and decodes text with a byte-level BPE, like GPT-2's and Whisper's tokenizers. */
import { AddedTexts } from './added-texts.js';
import type { TokenTable } from './token-table.js';
import type { AddedToken, TokenizerFiles } from './tokenizer-files.js';

/** The interface of this tokenizer and of the library's. */
export interface TextCodec {
  /**
   * Encodes a text. Texts of added tokens in it become these tokens, except those for which `isLeftOut` is true: they
   * are encoded as plain characters.
   */
  encode(text: string, isLeftOut?: (id: number) => boolean): number[];
  /** Decodes tokens, leaving out special ones. */
  decode(ids: readonly number[]): string;
  /** A token's bytes, possibly only a part of a character. */
  bytes(id: number): Uint8Array;
}

/** Contractions, which are pieces of their own in GPT-2's pattern. */
const contraction = /'(?:s|t|re|ve|m|ll|d)/y;
/**
 * Words, numbers and symbols. Matches are of bounded length and continue each other: an unbounded one of a long text
 * without breaks would exceed the stack of regular expressions.
 */
const runs = [/\p{L}{1,4096}/uy, /\p{N}{1,4096}/uy, /[^\p{White_Space}\p{L}\p{N}]{1,4096}/uy];
/** Spaces are Unicode's; JavaScript's `\s` includes U+FEFF and lacks U+0085. */
const spaces = /\p{White_Space}{1,4096}/uy;

function runEnd(run: RegExp, text: string, from: number): number {
  let end = from;
  do {
    run.lastIndex = end;
    end += run.exec(text)?.[0].length ?? 0;
  } while (run.lastIndex > 0 && end < text.length);
  return end;
}

/**
 * Divides text into the pieces within which bytes are merged, as GPT-2's pattern does: contractions; words, numbers and
 * symbols with a space before them; spaces, except the last one before something else.
 */
export function* piecesOf(text: string): Generator<string> {
  for (let begin = 0, end = 0; begin < text.length; begin = end) {
    contraction.lastIndex = begin;
    end = begin + (contraction.exec(text)?.[0].length ?? 0);
    const from = begin + Number(text[begin] === ' ');
    for (let i = 0; i < runs.length && end <= from; ++i) {
      const reached = runEnd(runs[i], text, from);
      if (reached > from) end = reached;
    }
    if (end === begin) {
      end = runEnd(spaces, text, begin);
      if (end < text.length && end - begin > 1) end -= 1;
    }
    yield text.slice(begin, end);
  }
}

/** A priority queue of pairs to merge: lowest rank first, then leftmost. */
class PairQueue {
  /** A binary heap of `rank * 2^28 + position`. */
  readonly #keys: number[] = [];

  get isEmpty(): boolean {
    return this.#keys.length === 0;
  }

  push(rank: number, position: number): void {
    const key = rank * 2 ** 28 + position;
    const keys = this.#keys;
    let at = keys.length;
    while (at > 0 && keys[(at - 1) >> 1] > key) {
      keys[at] = keys[(at - 1) >> 1];
      at = (at - 1) >> 1;
    }
    keys[at] = key;
  }

  pop(): { rank: number; position: number } {
    const keys = this.#keys;
    const [first] = keys;
    const last = keys.pop()!;
    for (let at = 0; keys.length > 0; ) {
      let child = 2 * at + 1;
      if (child + 1 < keys.length && keys[child + 1] < keys[child]) child += 1;
      if (child >= keys.length || keys[child] >= last) {
        keys[at] = last;
        break;
      }
      keys[at] = keys[child];
      at = child;
    }
    return { rank: Math.floor(first / 2 ** 28), position: first % 2 ** 28 };
  }
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const encoder = new TextEncoder();

export class ByteLevelTokenizer implements TextCodec {
  readonly #table: TokenTable;
  readonly #added: AddedTexts;
  /** The texts of added tokens, which decoding returns unchanged. */
  readonly #contents: ReadonlyMap<number, string>;
  /** Tokens that decoding skips. */
  readonly #special: ReadonlySet<number>;
  readonly #spaceBefore: boolean;

  private constructor(
    table: TokenTable,
    added: AddedTexts,
    tokens: readonly AddedToken[],
    special: ReadonlySet<number>,
    spaceBefore: boolean,
  ) {
    this.#table = table;
    this.#added = added;
    this.#contents = new Map(tokens.map(({ id, content }) => [id, content]));
    this.#special = special;
    this.#spaceBefore = spaceBefore;
  }

  /** Returns null if the tokenizer differs in kind from GPT-2's and Whisper's; then the library is used. */
  static of({ json, config, table }: TokenizerFiles): ByteLevelTokenizer | null {
    if (!table) return null;
    const { added_tokens: tokens } = json;
    const added = new AddedTexts(tokens);
    if (!hasUsualForm(json as unknown as Fields, config) || !added.isQuick || !areConsistent(tokens, table))
      return null;
    const { additional_special_tokens: more } = config;
    const named = new Set(Array.isArray(more) ? more.filter((one) => typeof one === 'string') : []);
    const special = new Set(table.find(named).values());
    for (const token of tokens) if (token.special || named.has(token.content)) special.add(token.id);
    const { add_prefix_space: spaceBefore } = (json as unknown as Fields).pre_tokenizer as Fields;
    return new ByteLevelTokenizer(table, added, tokens, special, spaceBefore === true);
  }

  encode(text: string, isLeftOut?: (id: number) => boolean): number[] {
    const ids: number[] = [];
    for (const part of this.#added.split(text, isLeftOut)) {
      if (typeof part === 'number') {
        ids.push(part);
        continue;
      }
      const spaced = this.#spaceBefore && !part.startsWith(' ') ? ` ${part}` : part;
      for (const piece of piecesOf(spaced)) this.#join(encoder.encode(piece), ids);
    }
    return ids;
  }

  /** Appends the tokens of a piece of text: repeatedly merges the pair with the lowest rank. */
  #join(bytes: Uint8Array, into: number[]): void {
    const { merges, byteIds } = this.#table;
    const count = bytes.length;
    const tokens = Int32Array.from(bytes, (byte) => byteIds[byte]);
    // Neighbours of the remaining tokens. A token that was merged into the previous one has no next one.
    const next = Int32Array.from(bytes, (_, i) => i + 1);
    const previous = Int32Array.from(bytes, (_, i) => i - 1);
    const queue = new PairQueue();
    const offer = (position: number) => {
      if (position < 0 || next[position] >= count) return;
      const rank = merges.rankOf(tokens[position], tokens[next[position]]);
      if (rank >= 0) queue.push(rank, position);
    };
    for (let position = 0; position < count - 1; ++position) offer(position);
    while (!queue.isEmpty) {
      const { rank, position } = queue.pop();
      const right = next[position];
      // One of the two may have been merged with another since.
      if (right < 0 || right >= count || merges.rankOf(tokens[position], tokens[right]) !== rank) continue;
      tokens[position] = merges.joined(rank);
      next[position] = next[right];
      next[right] = -1;
      if (next[position] < count) previous[next[position]] = position;
      offer(previous[position]);
      offer(position);
    }
    for (let position = 0; position < count; position = next[position]) into.push(tokens[position]);
  }

  decode(ids: readonly number[]): string {
    let text = '';
    let run: number[] = [];
    const end = () => {
      if (run.length > 0) text += decoder.decode(this.#table.join(run));
      run = [];
    };
    for (const id of ids) {
      if (this.#special.has(id)) continue;
      const content = this.#contents.get(id);
      if (content === undefined) run.push(id);
      else {
        end();
        text += content;
      }
    }
    end();
    return text;
  }

  bytes(id: number): Uint8Array {
    if (this.#special.has(id)) return new Uint8Array();
    const content = this.#contents.get(id);
    return content === undefined ? this.#table.bytes(id).slice() : encoder.encode(content);
  }
}

type Fields = Record<string, unknown>;

const isOff = (value: unknown) => value === undefined || value === null || value === false || value === '';
const isType = (value: unknown, type: string): value is Fields => (value as Fields | null)?.type === type;

/** True if each part of tokenizer.json has the type that GPT-2's and Whisper's have, with no other settings enabled. */
function hasUsualForm(json: Fields, config: Fields): boolean {
  const { normalizer, pre_tokenizer: before, post_processor: after, decoder: last } = json;
  const model = json.model as Fields;
  const names = new Set(
    (json.added_tokens as AddedToken[]).flatMap(({ special, content }) => (special ? content : [])),
  );
  const { unk_token: unknown } = model;
  return (
    normalizer === null &&
    isType(before, 'ByteLevel') &&
    before.use_regex !== false &&
    (after === null || isType(after, 'TemplateProcessing') || isType(after, 'ByteLevel')) &&
    isType(last, 'ByteLevel') &&
    isType(model, 'BPE') &&
    // All bytes are tokens, so there are no unknown tokens.
    (isOff(unknown) || names.has(unknown as string)) &&
    ['dropout', 'end_of_word_suffix', 'continuing_subword_prefix', 'continuing_subword_suffix'].every((name) =>
      isOff(model[name]),
    ) &&
    ['byte_fallback', 'ignore_merges'].every((name) => isOff(model[name])) &&
    ['remove_space', 'do_lowercase_and_remove_accent'].every((name) => isOff(config[name]))
  );
}

/**
 * Whether all added tokens have distinct texts and ids that do not contradict the vocabulary, which may contain the
 * same tokens.
 */
function areConsistent(tokens: readonly AddedToken[], table: TokenTable): boolean {
  const contents = new Map(tokens.map(({ content, id }) => [content, id]));
  const ids = new Set(tokens.map(({ id }) => id));
  if (contents.size < tokens.length || ids.size < tokens.length) return false;
  if (tokens.some(({ id, content }) => id < 0 || content === '')) return false;
  const both = tokens.filter(({ id }) => table.has(id));
  if (both.some(({ id, content }) => table.text(id) !== content)) return false;
  return [...table.find(contents.keys())].every(([text, id]) => contents.get(text) === id);
}
