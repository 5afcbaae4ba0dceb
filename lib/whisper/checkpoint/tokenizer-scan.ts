/**
 * Reads tokenizer.json piece by piece. Vocabulary and merges, which are almost all of the file, go straight into a
 * table; only the rest is parsed as JSON.
 */
import { open } from 'node:fs/promises';
import { bytesWithoutByteOrderMark } from '../../json.js';
import { byteOfCharacter } from './byte-pairs.js';
import { type TokenTable, TokenTableBuilder } from './token-table.js';

/** Number of bytes that are read at once. */
const pieceBytes = 1 << 17;
/** Maximum bytes of a token, or of the two tokens of a merge. */
const maximumTokenBytes = 1 << 12;

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const backslash = 0x5c;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const isSpace = (byte: number) => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/** The expected syntax element. Strings are read separately; after one the next element is expected. */
type Expected =
  | 'rest'
  | 'token or end'
  | 'token'
  | 'colon'
  | 'id'
  | 'digit'
  | 'end of token'
  | 'merge or end'
  | 'merge'
  | 'end of merge'
  | 'left'
  | 'between'
  | 'right'
  | 'end of pair';

/**
 * Thrown if the file does not have the usual form. Then the caller parses the whole file as JSON, which gives the
 * error.
 */
class UnexpectedForm extends Error {}

export class TokenizerScan {
  readonly #builder: TokenTableBuilder;
  readonly #rest: Buffer[] = [];
  #expected: Expected = 'rest';
  #depth = 0;
  /** True within the value of the field `model`. */
  #inModel = false;
  readonly #seen = new Set<string>();
  /** The field whose value comes next. */
  #field: string | null = null;
  #inString = false;
  /** After a backslash: 1, or 1 plus the number of hexadecimal digits that follow. */
  #escape = 0;
  #code = 0;
  /** The first byte of a two-byte character. */
  #lead = 0;
  /** The current or last string: its bytes, the end of its left part, and whether it has escapes. */
  readonly #string = new Uint8Array(maximumTokenBytes);
  #length = 0;
  #middle = -1;
  #escaped = false;
  #number = -1;

  /** `bytes` is the length of the file. */
  constructor(bytes: number) {
    this.#builder = new TokenTableBuilder(Math.max(1024, Math.min(bytes >> 6, 1 << 17)));
  }

  /** Processes the next bytes of the file. Throws an Error if it does not have the usual form. */
  feed(piece: Uint8Array): void {
    // The beginning of the bytes that must be kept.
    let begin = 0;
    let inRest = this.#expected === 'rest';
    for (let i = 0; i < piece.length; ) {
      if (this.#inString) i = inRest ? this.#skipString(piece, i) : this.#readString(piece, i);
      else if (inRest) this.#takeRest(piece[i++]);
      else {
        // An indented file consists mostly of spaces.
        if (this.#expected !== 'digit') while (i < piece.length && isSpace(piece[i])) i += 1;
        if (i < piece.length) this.#take(piece[i++]);
      }
      if (inRest === (this.#expected === 'rest')) continue;
      // The brackets around vocabulary and merges are kept.
      if (inRest) this.#rest.push(Buffer.from(piece.subarray(begin, i)));
      inRest = !inRest;
      begin = i - 1;
    }
    if (inRest) this.#rest.push(Buffer.from(piece.subarray(begin)));
  }

  /** The table, and the file without vocabulary and merges. Throws an Error if there is no table. */
  finish(): { json: unknown; table: TokenTable } {
    const table = this.#seen.has('vocab') && this.#seen.has('merges') && this.#depth === 0 && this.#builder.build();
    if (!table) throw new UnexpectedForm();
    return { json: JSON.parse(Buffer.concat(this.#rest).toString('utf8')), table };
  }

  /** Processes a byte of the vocabulary or the merges, outside strings. */
  #take(byte: number): void {
    const isDigit = byte >= 0x30 && byte <= 0x39;
    if (this.#expected === 'digit' && isDigit) this.#takeDigit(byte - 0x30);
    else if (!isSpace(byte)) this.#expected = this.#next(byte);
    else if (this.#expected === 'digit') this.#expected = this.#endToken();
  }

  #takeRest(byte: number): void {
    switch (byte) {
      case quote:
        this.#beginString();
        break;
      case colon:
        if (this.#depth > 2) break;
        if (this.#escaped) throw new UnexpectedForm();
        this.#field = Buffer.from(this.#string.buffer, 0, this.#length).toString('latin1');
        break;
      case openBrace:
      case openBracket: {
        const field = this.#field;
        this.#field = null;
        this.#depth += 1;
        if (this.#depth === 2 && field === 'model') {
          this.#once(field);
          this.#inModel = true;
        } else if (this.#depth === 3 && this.#inModel && (field === 'vocab' || field === 'merges')) {
          this.#once(field);
          if (field === 'merges' && !this.#seen.has('vocab')) throw new UnexpectedForm();
          if ((field === 'vocab') !== (byte === openBrace)) throw new UnexpectedForm();
          this.#expected = field === 'vocab' ? 'token or end' : 'merge or end';
        }
        break;
      }
      case closeBrace:
      case closeBracket:
        this.#leave();
        break;
      case comma:
        this.#field = null;
    }
  }

  #once(field: string): void {
    if (this.#seen.has(field)) throw new UnexpectedForm();
    this.#seen.add(field);
  }

  #leave(): Expected {
    this.#depth -= 1;
    this.#field = null;
    if (this.#depth < 2) this.#inModel = false;
    if (this.#depth < 0) throw new UnexpectedForm();
    return 'rest';
  }

  #beginString(): void {
    this.#inString = true;
    this.#length = 0;
    this.#middle = -1;
    this.#escaped = false;
  }

  /** Processes punctuation, the first digit of a number, or the opening quote of a string. */
  #next(byte: number): Expected {
    const expected = this.#expected;
    switch (expected) {
      case 'token or end':
      case 'token':
        if (byte === closeBrace && expected === 'token or end') return this.#leave();
        if (byte !== quote) break;
        this.#beginString();
        return expected;
      case 'colon':
        if (byte === colon) return 'id';
        break;
      case 'id':
        if (byte < 0x30 || byte > 0x39) break;
        this.#number = byte - 0x30;
        return 'digit';
      case 'digit':
        this.#expected = this.#endToken();
        return this.#next(byte);
      case 'end of token':
        if (byte === comma) return 'token';
        if (byte === closeBrace) return this.#leave();
        break;
      case 'merge or end':
      case 'merge':
        if (byte === closeBracket && expected === 'merge or end') return this.#leave();
        if (byte === openBracket) return 'left';
        if (byte !== quote) break;
        this.#beginString();
        return 'merge';
      case 'end of merge':
        if (byte === comma) return 'merge';
        if (byte === closeBracket) return this.#leave();
        break;
      case 'left':
        if (byte !== quote) break;
        this.#beginString();
        return expected;
      case 'between':
        if (byte === comma) return 'right';
        break;
      case 'right':
        if (byte !== quote) break;
        this.#inString = true; // which follows the left token in `string`
        return expected;
      case 'end of pair':
        if (byte === closeBracket) return 'end of merge';
    }
    throw new UnexpectedForm();
  }

  #takeDigit(digit: number): void {
    if (this.#number === 0) throw new UnexpectedForm();
    this.#number = 10 * this.#number + digit;
    if (this.#number > 0xffff_ffff) throw new UnexpectedForm();
  }

  #endToken(): Expected {
    if (!this.#builder.add(this.#string, this.#length, this.#number)) throw new UnexpectedForm();
    return 'end of token';
  }

  /** The element that is expected after a string of the vocabulary or the merges. */
  #endString(): Expected {
    this.#inString = false;
    if (this.#expected === 'token or end' || this.#expected === 'token') return 'colon';
    if (this.#expected === 'left') {
      this.#middle = this.#length;
      return 'between';
    }
    if (this.#middle < 0 || !this.#builder.merge(this.#string, this.#middle, this.#length)) throw new UnexpectedForm();
    return this.#expected === 'merge' ? 'end of merge' : 'end of pair';
  }

  /** Skips a string of the rest. A short one is kept, since it may be a field's name. */
  #skipString(piece: Uint8Array, from: number): number {
    for (let i = from; i < piece.length; ++i) {
      const byte = piece[i];
      if (this.#escape > 0) this.#escape = 0;
      else if (byte === quote) {
        this.#inString = false;
        return i + 1;
      } else if (byte === backslash) {
        this.#escape = 1;
        this.#escaped = true;
      } else if (this.#length < maximumTokenBytes) this.#string[this.#length++] = byte;
    }
    return piece.length;
  }

  /** Reads a string of tokens, whose characters represent bytes. */
  #readString(piece: Uint8Array, from: number): number {
    for (let i = from; i < piece.length; ++i) {
      const byte = piece[i];
      if (this.#escape > 0) this.#takeEscaped(byte);
      else if (this.#lead > 0) {
        if ((byte & 0xc0) !== 0x80) throw new UnexpectedForm();
        this.#put(((this.#lead & 0x1f) << 6) | (byte & 0x3f));
        this.#lead = 0;
      } else if (byte === quote) {
        this.#expected = this.#endString();
        return i + 1;
      } else if (byte === backslash) this.#escape = 1;
      else if (byte < 0x80) this.#put(byte);
      else if (byte >= 0xc2 && byte <= 0xdf) this.#lead = byte;
      else throw new UnexpectedForm();
    }
    return piece.length;
  }

  #takeEscaped(byte: number): void {
    if (this.#escape === 1) {
      this.#code = 0;
      // `u` and four digits, or a quote, slash or backslash for itself; no other escape represents a byte.
      if (byte === 0x75) this.#escape = 5;
      else {
        if (byte !== quote && byte !== backslash && byte !== 0x2f) throw new UnexpectedForm();
        this.#escape = 0;
        this.#put(byte);
      }
      return;
    }
    const digit = Number.parseInt(String.fromCharCode(byte), 16);
    if (Number.isNaN(digit)) throw new UnexpectedForm();
    this.#code = 16 * this.#code + digit;
    this.#escape -= 1;
    if (this.#escape > 1) return;
    this.#escape = 0;
    this.#put(this.#code);
  }

  /** Processes a character of a token, or the space between the two tokens of a merge. */
  #put(code: number): void {
    if (code === 0x20 && this.#expected === 'merge' && this.#middle < 0) {
      this.#middle = this.#length;
      return;
    }
    const byte = byteOfCharacter[code] ?? -1;
    if (byte < 0 || this.#length === maximumTokenBytes) throw new UnexpectedForm();
    this.#string[this.#length++] = byte;
  }
}

/**
 * Reads a tokenizer.json: its table of tokens, and its contents with an empty vocabulary and no merges. Returns null if
 * it cannot be read, is damaged, or is not a byte-level BPE whose vocabulary comes before its merges; parsing it as
 * JSON shows which.
 */
export async function scanTokenizer(file: string): Promise<{ json: unknown; table: TokenTable } | null> {
  try {
    const handle = await open(file);
    try {
      const scan = new TokenizerScan((await handle.stat()).size);
      const piece = Buffer.alloc(pieceBytes);
      for (let isFirst = true; ; isFirst = false) {
        const { bytesRead } = await handle.read(piece, 0, pieceBytes);
        if (bytesRead === 0) return scan.finish();
        const bytes = piece.subarray(0, bytesRead);
        scan.feed(isFirst ? bytesWithoutByteOrderMark(bytes) : bytes);
      }
    } finally {
      await handle.close();
    }
  } catch {
    return null;
  }
}
