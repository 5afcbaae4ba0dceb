/**
 * Reads the pickles that torch.save writes, without running any code from them. A pickle calls functions and classes by
 * name; any name that is not on a short list is refused.
 */
import { quoted } from './bytes.js';

/** A function that a pickle calls with its arguments. */
export type Callable = (...values: unknown[]) => unknown;

export interface PickleRules {
  /** The function of this full name, or undefined where there is none. */
  resolve(name: string): Callable | undefined;
  /** The object of a persistent id. */
  persistent(id: unknown): unknown;
  /** Throws. `problem` completes "<file> is not a valid PyTorch file: ...". */
  refuse(problem: string): never;
}

/** Marks on the stack where a sequence of items begins. */
const mark = Symbol('mark');
/** The opcode STOP, at the end of a pickle. */
const stop = 0x2e;

/** A function or class that the pickle named. Only these can be called. */
export class Named {
  readonly name: string;
  readonly call: Callable;

  constructor(name: string, call: Callable) {
    this.name = name;
    this.call = call;
  }
}

/** Limit of a call's arguments; the known functions take fewer. */
const maximumArguments = 16;

class Reader {
  readonly #bytes: Buffer;
  readonly #rules: PickleRules;
  readonly #stack: unknown[] = [];
  readonly #memo = new Map<number, unknown>();
  #at = 0;

  constructor(bytes: Buffer, rules: PickleRules) {
    this.#bytes = bytes;
    this.#rules = rules;
  }

  #refuse(problem: string): never {
    this.#rules.refuse(`its pickle ${problem}`);
  }

  #version(version: number): void {
    if (version > 5) this.#refuse('is of an unknown version');
  }

  /** Skips `count` bytes and returns their position. */
  #take(count: number): number {
    const at = this.#at;
    if (count > this.#bytes.length - at) this.#refuse('is truncated');
    this.#at += count;
    return at;
  }

  #text(count: number): string {
    const at = this.#take(count);
    return this.#bytes.toString('utf8', at, at + count);
  }

  /** Reads a line, without its end: the form of arguments in old opcodes. */
  #line(): string {
    const end = this.#bytes.indexOf(10, this.#at);
    if (end < 0 || end - this.#at > 1000) this.#refuse('has a name without an end');
    const text = this.#text(end - this.#at);
    ++this.#at;
    return text;
  }

  #pop(): unknown {
    if (this.#stack.length === 0) this.#refuse('takes a value from an empty stack');
    const value = this.#stack.pop();
    if (value === mark) this.#refuse('takes a mark as a value');
    return value;
  }

  #top(): unknown {
    const value = this.#pop();
    this.#stack.push(value);
    return value;
  }

  /** Pops all items above the last mark, and the mark. */
  #items(): unknown[] {
    const at = this.#stack.lastIndexOf(mark);
    if (at < 0) this.#refuse('ends a list that it did not begin');
    const items = this.#stack.splice(at);
    items.shift();
    return items;
  }

  #several(count: number): unknown[] {
    return Array.from({ length: count }, () => this.#pop()).reverse();
  }

  #set(items: unknown[]): void {
    const map = this.#top();
    if (!(map instanceof Map) || items.length % 2) this.#refuse('sets an item of something other than a dict');
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i];
      if (typeof key !== 'string' && typeof key !== 'number')
        this.#refuse('has a key that is neither text nor a number');
      map.set(key, items[i + 1]);
    }
  }

  #append(items: unknown[]): void {
    const list = this.#top();
    if (!Array.isArray(list) || Object.isFrozen(list)) this.#refuse('appends to something other than a list');
    for (const item of items) list.push(item);
  }

  #tuple(items: unknown[]): void {
    this.#stack.push(Object.freeze(items));
  }

  #named([module, name]: unknown[]): void {
    if (typeof module !== 'string' || typeof name !== 'string')
      this.#refuse('gives a function a name that is not text');
    const full = `${module}.${name}`;
    const call = this.#rules.resolve(full);
    if (!call) this.#refuse(`calls ${quoted(full)}, which weights do not need and which is not run`);
    this.#stack.push(new Named(full, call));
  }

  #reduce(): void {
    const values = this.#pop();
    const called = this.#pop();
    if (!(called instanceof Named) || !Array.isArray(values)) this.#refuse('calls something other than a function');
    if (values.length > maximumArguments) this.#refuse(`calls ${called.name} with ${values.length} arguments`);
    this.#stack.push(called.call(...values));
  }

  /** Drops the attributes of an ordered dict, such as its versions, which are not needed. */
  #build(): void {
    this.#pop();
    this.#top();
  }

  #remember(index: number): void {
    this.#memo.set(index, this.#top());
  }

  #recall(index: number): void {
    if (!this.#memo.has(index)) this.#refuse('refers to a value that it did not store');
    this.#stack.push(this.#memo.get(index));
  }

  /** An integer of up to 8 bytes in two's complement. Sizes need no longer ones. */
  #long(count: number): number {
    if (count > 8) this.#refuse('has an integer of more than 64 bits');
    const at = this.#take(count);
    let value = 0n;
    for (let i = count - 1; i >= 0; --i) value = (value << 8n) | BigInt(this.#bytes[at + i]);
    return Number(BigInt.asIntN(8 * count, value));
  }

  #push(value: unknown): void {
    this.#stack.push(value);
  }

  #byte(): number {
    return this.#bytes[this.#take(1)];
  }

  #uint32(): number {
    return this.#bytes.readUInt32LE(this.#take(4));
  }

  /** What each opcode does that torch.save writes; STOP is missing, which ends the pickle. */
  readonly #operations = new Map<number, () => void>([
    [0x80, () => this.#version(this.#byte())], // PROTO
    [0x95, () => this.#take(8)], // FRAME
    // The stack
    [0x28, () => this.#push(mark)], // MARK
    [0x30, () => this.#pop()], // POP
    [0x31, () => this.#items()], // POP_MARK
    // Values
    [0x4e, () => this.#push(null)], // NONE
    [0x88, () => this.#push(true)], // NEWTRUE
    [0x89, () => this.#push(false)], // NEWFALSE
    [0x4a, () => this.#push(this.#bytes.readInt32LE(this.#take(4)))], // BININT
    [0x4b, () => this.#push(this.#byte())], // BININT1
    [0x4d, () => this.#push(this.#bytes.readUInt16LE(this.#take(2)))], // BININT2
    [0x8a, () => this.#push(this.#long(this.#byte()))], // LONG1
    [0x47, () => this.#push(this.#bytes.readDoubleBE(this.#take(8)))], // BINFLOAT
    [0x58, () => this.#push(this.#text(this.#uint32()))], // BINUNICODE
    [0x8c, () => this.#push(this.#text(this.#byte()))], // SHORT_BINUNICODE
    // Tuples, lists and dicts
    [0x29, () => this.#tuple([])], // EMPTY_TUPLE
    [0x74, () => this.#tuple(this.#items())], // TUPLE
    [0x85, () => this.#tuple(this.#several(1))], // TUPLE1
    [0x86, () => this.#tuple(this.#several(2))], // TUPLE2
    [0x87, () => this.#tuple(this.#several(3))], // TUPLE3
    [0x5d, () => this.#push([])], // EMPTY_LIST
    [0x61, () => this.#append([this.#pop()])], // APPEND
    [0x65, () => this.#append(this.#items())], // APPENDS
    [0x7d, () => this.#push(new Map())], // EMPTY_DICT
    [0x73, () => this.#set(this.#several(2))], // SETITEM
    [0x75, () => this.#set(this.#items())], // SETITEMS
    // Values that are used several times
    [0x71, () => this.#remember(this.#byte())], // BINPUT
    [0x72, () => this.#remember(this.#uint32())], // LONG_BINPUT
    [0x94, () => this.#remember(this.#memo.size)], // MEMOIZE
    [0x68, () => this.#recall(this.#byte())], // BINGET
    [0x6a, () => this.#recall(this.#uint32())], // LONG_BINGET
    // Functions and their calls
    [0x63, () => this.#named([this.#line(), this.#line()])], // GLOBAL
    [0x93, () => this.#named(this.#several(2))], // STACK_GLOBAL
    [0x52, () => this.#reduce()], // REDUCE
    [0x62, () => this.#build()], // BUILD
    [0x51, () => this.#push(this.#rules.persistent(this.#pop()))], // BINPERSID
  ]);

  read(): unknown {
    for (;;) {
      const opcode = this.#byte();
      if (opcode === stop) return this.#pop();
      const operation = this.#operations.get(opcode);
      if (!operation) {
        this.#refuse(`has the opcode 0x${opcode.toString(16).padStart(2, '0')}, which torch.save does not write`);
      }
      operation();
    }
  }
}

/** Reads a pickle's object: dicts become Map, lists arrays, tuples frozen arrays. */
export function readPickle(bytes: Buffer, rules: PickleRules): unknown {
  return new Reader(bytes, rules).read();
}
