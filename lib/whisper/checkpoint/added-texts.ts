/** Texts that are one token each, wherever they occur in a text, as in Hugging Face's tokenizers. */
import type { AddedToken } from './tokenizer-files.js';

/** Lengths of added texts that begin with the same character, at most: each is looked for at each such character. */
const maximumLengths = 64;

const endsInWord = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const isSpace = /^\p{White_Space}$/u;

/** Added tokens that are looked for together. At one position the longest counts. */
class Search {
  readonly #tokens: ReadonlyMap<string, AddedToken>;
  /** Lengths in descending order, by the first UTF-16 unit. */
  readonly #lengths = new Map<number, number[]>();

  constructor(tokens: readonly AddedToken[]) {
    this.#tokens = new Map(tokens.map((token) => [token.content, token]));
    for (const { content } of tokens) {
      const lengths = this.#lengths.get(content.charCodeAt(0)) ?? [];
      if (!lengths.includes(content.length)) lengths.push(content.length);
      this.#lengths.set(content.charCodeAt(0), lengths);
    }
    for (const lengths of this.#lengths.values()) lengths.sort((a, b) => b - a);
  }

  get isQuick(): boolean {
    return [...this.#lengths.values()].every(({ length }) => length <= maximumLengths);
  }

  #at(text: string, position: number): AddedToken | undefined {
    for (const length of this.#lengths.get(text.charCodeAt(position)) ?? []) {
      const token = this.#tokens.get(text.substring(position, position + length));
      if (token) return token;
    }
    return undefined;
  }

  /** Divides a text into added tokens' ids and the texts between them. */
  split(text: string, isLeftOut: (id: number) => boolean): (string | number)[] {
    const parts: (string | number)[] = [];
    let begin = 0;
    for (let i = 0; i < text.length; ) {
      const token = this.#at(text, i);
      if (!token) {
        i += 1;
        continue;
      }
      let from = i;
      i += token.content.length;
      if (isLeftOut(token.id) || (token.single_word && !isWord(text, from, i))) continue;
      let to = i;
      if (token.lstrip) while (from > begin && isSpace.test(text[from - 1])) from -= 1;
      if (token.rstrip) while (to < text.length && isSpace.test(text[to])) to += 1;
      if (from > begin) parts.push(text.slice(begin, from));
      parts.push(token.id);
      begin = to;
    }
    if (begin < text.length) parts.push(text.slice(begin));
    return parts;
  }
}

/** Whether no letter or digit is next to `text[from, to)`. Two units are enough for any character. */
function isWord(text: string, from: number, to: number): boolean {
  const next = text.codePointAt(to);
  const isBegun = from > 0 && endsInWord.test(text.slice(Math.max(0, from - 2), from));
  return !isBegun && (next === undefined || !endsInWord.test(String.fromCodePoint(next)));
}

export class AddedTexts {
  /** Those that are looked for before a text is normalized go first. */
  readonly #searches: readonly Search[];

  constructor(tokens: readonly AddedToken[]) {
    const isNormalized = ({ normalized }: AddedToken) => normalized === true;
    this.#searches = [
      new Search(tokens.filter((token) => !isNormalized(token))),
      new Search(tokens.filter(isNormalized)),
    ];
  }

  /** False if there are so many that a long text would take long. */
  get isQuick(): boolean {
    return this.#searches.every(({ isQuick }) => isQuick);
  }

  /** Divides a text into added tokens' ids and the texts between them. Tokens that are left out stay text. */
  split(text: string, isLeftOut: (id: number) => boolean = () => false): (string | number)[] {
    return this.#searches.reduce<(string | number)[]>(
      (parts, search) => parts.flatMap((part) => (typeof part === 'string' ? search.split(part, isLeftOut) : part)),
      [text],
    );
  }
}
