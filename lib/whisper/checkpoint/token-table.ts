/**
 * The tokens and merges of a byte-level BPE, in typed arrays. Whisper's 50,000 tokens take 2 MB; as strings and objects
 * they would take tens of MB.
 */
import { bytesOf, textOf } from './byte-pairs.js';

/** Ids are below this, and below four times the number of tokens, so that tables indexed by id stay small. */
const idLimit = 1 << 22;
/** Hashes fit into 32 signed bits, so that V8 stores them without allocation. */
const absent = -1;

function grown<Table extends Uint8Array | Int32Array>(table: Table, length: number): Table {
  if (length <= table.length) return table;
  const larger = new (table.constructor as Int32ArrayConstructor)(Math.max(length, 2 * table.length));
  larger.set(table);
  return larger as unknown as Table;
}

/** A hash table with open addressing is at most half full. */
const slotsFor = (count: number): number => 2 ** Math.ceil(Math.log2(Math.max(16, 2 * count)));

function hashOfPair(left: number, right: number): number {
  const mixed = Math.imul(left ^ Math.imul(right, 0x85eb_ca6b), 0x9e37_79b1);
  return mixed ^ (mixed >> 15);
}

/** The merges: which two tokens form which, by rank. Pairs of lower ranks are merged first. */
export class Merges {
  readonly #slots: Int32Array;
  /** [left, right, merged] for each rank. */
  readonly #triples: Int32Array;

  constructor(triples: Int32Array) {
    this.#triples = triples;
    this.#slots = new Int32Array(slotsFor(triples.length / 3)).fill(absent);
    for (let rank = 0; rank < triples.length / 3; ++rank) {
      // If a pair occurs twice, its last rank counts.
      this.#slots[this.#slotOf(triples[3 * rank], triples[3 * rank + 1])] = rank;
    }
  }

  /** The slot of a pair, or the empty slot for it. */
  #slotOf(left: number, right: number): number {
    const last = this.#slots.length - 1;
    for (let slot = hashOfPair(left, right) & last; ; slot = (slot + 1) & last) {
      const rank = this.#slots[slot];
      if (rank === absent) return slot;
      if (this.#triples[3 * rank] === left && this.#triples[3 * rank + 1] === right) return slot;
    }
  }

  get count(): number {
    return this.#triples.length / 3;
  }

  /** The rank of a pair; -1 if it is not merged. */
  rankOf(left: number, right: number): number {
    return this.#slots[this.#slotOf(left, right)];
  }

  joined(rank: number): number {
    return this.#triples[3 * rank + 2];
  }

  /** The two tokens of the merge with this rank. */
  pair(rank: number): [number, number] {
    return [this.#triples[3 * rank], this.#triples[3 * rank + 1]];
  }
}

export class TokenTable {
  readonly merges: Merges;
  /** The id of each byte's token. */
  readonly byteIds: Int32Array;
  readonly #bytes: Uint8Array;
  /** The position of each id's bytes; absent ids begin at `absent`. */
  readonly #begins: Int32Array;
  readonly #ends: Int32Array;

  constructor(bytes: Uint8Array, begins: Int32Array, ends: Int32Array, byteIds: Int32Array, merges: Merges) {
    this.#bytes = bytes;
    this.#begins = begins;
    this.#ends = ends;
    this.byteIds = byteIds;
    this.merges = merges;
  }

  /** The highest id plus one. */
  get size(): number {
    return this.#begins.length;
  }

  has(id: number): boolean {
    return (this.#begins[id] ?? absent) !== absent;
  }

  /** A view of a token's bytes; empty if the id does not exist. */
  bytes(id: number): Uint8Array {
    return this.has(id) ? this.#bytes.subarray(this.#begins[id], this.#ends[id]) : this.#bytes.subarray(0, 0);
  }

  /** The concatenated bytes of tokens. */
  join(ids: readonly number[]): Uint8Array {
    let length = 0;
    for (const id of ids) if (this.has(id)) length += this.#ends[id] - this.#begins[id];
    const joined = new Uint8Array(length);
    let to = 0;
    for (const id of ids) {
      if (!this.has(id)) continue;
      for (let from = this.#begins[id]; from < this.#ends[id]; ++from) joined[to++] = this.#bytes[from];
    }
    return joined;
  }

  /** A token in the characters of `textOf`, as in tokenizer.json. */
  text(id: number): string {
    return textOf(this.bytes(id));
  }

  /** The texts and ids of all tokens, or of those that begin with one of these bytes, in the order of ids. */
  *entries(firsts?: ReadonlySet<number>): Generator<[string, number]> {
    for (let id = 0; id < this.size; ++id) {
      if (this.has(id) && (!firsts || firsts.has(this.#bytes[this.#begins[id]]))) yield [this.text(id), id];
    }
  }

  /** The ids of the texts that are tokens. */
  find(texts: Iterable<string>): Map<string, number> {
    const wanted = new Set(texts);
    const firsts = new Set([...wanted].flatMap((text) => [...(bytesOf(text.slice(0, 1)) ?? [])]));
    if (firsts.size === 0) return new Map();
    return new Map([...this.entries(firsts)].filter(([text]) => wanted.has(text)));
  }

  /** The texts of the merged pairs, by rank. */
  mergedTexts(): [string, string][] {
    return Array.from({ length: this.merges.count }, (_, rank) => {
      const [left, right] = this.merges.pair(rank);
      return [this.text(left), this.text(right)];
    });
  }
}

/** Builds a table: first tokens are added, then merges. */
export class TokenTableBuilder {
  #bytes: Uint8Array;
  #used = 0;
  /** In the order in which tokens are added. */
  #ids: Int32Array;
  #ends: Int32Array;
  #count = 0;
  #highest = -1;
  #slots: Int32Array;
  #triples: Int32Array;
  #merged = 0;

  /** `count`: the approximate number of tokens. */
  constructor(count = 1024) {
    this.#bytes = new Uint8Array(8 * count);
    this.#ids = new Int32Array(count);
    this.#ends = new Int32Array(count);
    this.#triples = new Int32Array(3 * count);
    this.#slots = new Int32Array(slotsFor(count)).fill(absent);
  }

  #begin(token: number): number {
    return token === 0 ? 0 : this.#ends[token - 1];
  }

  /** The slot of the token with these bytes, or the empty slot for it. */
  #slotOf(from: Uint8Array, begin: number, end: number): number {
    let hash = 0x811c_9dc5 | 0;
    for (let i = begin; i < end; ++i) hash = Math.imul(hash ^ from[i], 0x0100_0193);
    const last = this.#slots.length - 1;
    for (let slot = (hash ^ (hash >> 15)) & last; ; slot = (slot + 1) & last) {
      const token = this.#slots[slot];
      if (token === absent) return slot;
      const first = this.#begin(token);
      if (this.#ends[token] - first !== end - begin) continue;
      let same = 0;
      while (begin + same < end && this.#bytes[first + same] === from[begin + same]) ++same;
      if (begin + same === end) return slot;
    }
  }

  /** Adds the token `from[0, length)`. Returns false if it exists already, or if the id is too high. */
  add(from: Uint8Array, length: number, id: number): boolean {
    if (id >= idLimit) return false;
    if (2 * (this.#count + 1) > this.#slots.length) {
      this.#slots = new Int32Array(2 * this.#slots.length).fill(absent);
      for (let token = 0; token < this.#count; ++token) {
        this.#slots[this.#slotOf(this.#bytes, this.#begin(token), this.#ends[token])] = token;
      }
    }
    const slot = this.#slotOf(from, 0, length);
    if (this.#slots[slot] !== absent) return false;
    this.#bytes = grown(this.#bytes, this.#used + length);
    this.#ids = grown(this.#ids, this.#count + 1);
    this.#ends = grown(this.#ends, this.#count + 1);
    this.#slots[slot] = this.#count;
    for (let i = 0; i < length; ++i) this.#bytes[this.#used++] = from[i];
    this.#ids[this.#count] = id;
    this.#ends[this.#count++] = this.#used;
    this.#highest = Math.max(this.#highest, id);
    return true;
  }

  /** The id of the token `from[begin, end)`; -1 if there is none. */
  find(from: Uint8Array, begin: number, end: number): number {
    const token = this.#slots[this.#slotOf(from, begin, end)];
    return token === absent ? absent : this.#ids[token];
  }

  /** Adds the merge of `from[0, middle)` and `from[middle, end)`. Returns false if one of the three is not a token. */
  merge(from: Uint8Array, middle: number, end: number): boolean {
    const left = this.find(from, 0, middle);
    const right = this.find(from, middle, end);
    const joined = this.find(from, 0, end);
    if (left < 0 || right < 0 || joined < 0) return false;
    const at = 3 * this.#merged++;
    this.#triples = grown(this.#triples, at + 3);
    this.#triples[at] = left;
    this.#triples[at + 1] = right;
    this.#triples[at + 2] = joined;
    return true;
  }

  /** Returns null if a byte is not a token, two tokens have the same id, or ids are too sparse. */
  build(): TokenTable | null {
    if (this.#highest >= 4 * this.#count) return null;
    const begins = new Int32Array(this.#highest + 1).fill(absent);
    const ends = new Int32Array(this.#highest + 1);
    for (let token = 0; token < this.#count; ++token) {
      const id = this.#ids[token];
      if (begins[id] !== absent) return null;
      begins[id] = this.#begin(token);
      ends[id] = this.#ends[token];
    }
    const byteIds = new Int32Array(256);
    for (let byte = 0; byte < 256; ++byte) {
      const id = this.find(Uint8Array.of(byte), 0, 1);
      if (id < 0) return null;
      byteIds[byte] = id;
    }
    const merges = new Merges(this.#triples.subarray(0, 3 * this.#merged));
    return new TokenTable(this.#bytes, begins, ends, byteIds, merges);
  }
}

/** The table of tokens and merges in the characters of `textOf`; null if they are not a byte-level BPE. */
export function tokenTable(
  tokens: Iterable<readonly [string, number]>,
  merges: Iterable<readonly [string, string]>,
): TokenTable | null {
  const builder = new TokenTableBuilder();
  for (const [text, id] of tokens) {
    const bytes = bytesOf(text);
    if (!bytes || id < 0 || !builder.add(bytes, bytes.length, id)) return null;
  }
  for (const [left, right] of merges) {
    const bytes = bytesOf(left + right);
    if (!bytes || !builder.merge(bytes, left.length, bytes.length)) return null;
  }
  return builder.build();
}
