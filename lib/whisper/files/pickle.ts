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

  #named(module: unknown, name: unknown): void {
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

  read(): unknown {
    const bytes = this.#bytes;
    const stack = this.#stack;
    for (;;) {
      const operation = bytes[this.#take(1)];
      switch (operation) {
        case 0x80: // PROTO
          if (bytes[this.#take(1)] > 5) this.#refuse('is of an unknown version');
          break;
        case 0x95: // FRAME
          this.#take(8);
          break;
        case 0x2e: // STOP
          return this.#pop();
        case 0x28: // MARK
          stack.push(mark);
          break;
        case 0x30: // POP
          this.#pop();
          break;
        case 0x31: // POP_MARK
          this.#items();
          break;
        case 0x4e: // NONE
          stack.push(null);
          break;
        case 0x88: // NEWTRUE
          stack.push(true);
          break;
        case 0x89: // NEWFALSE
          stack.push(false);
          break;
        case 0x4a: // BININT
          stack.push(bytes.readInt32LE(this.#take(4)));
          break;
        case 0x4b: // BININT1
          stack.push(bytes[this.#take(1)]);
          break;
        case 0x4d: // BININT2
          stack.push(bytes.readUInt16LE(this.#take(2)));
          break;
        case 0x8a: // LONG1
          stack.push(this.#long(bytes[this.#take(1)]));
          break;
        case 0x47: // BINFLOAT
          stack.push(bytes.readDoubleBE(this.#take(8)));
          break;
        case 0x58: // BINUNICODE
          stack.push(this.#text(bytes.readUInt32LE(this.#take(4))));
          break;
        case 0x8c: // SHORT_BINUNICODE
          stack.push(this.#text(bytes[this.#take(1)]));
          break;
        case 0x29: // EMPTY_TUPLE
          this.#tuple([]);
          break;
        case 0x74: // TUPLE
          this.#tuple(this.#items());
          break;
        case 0x85: // TUPLE1
        case 0x86: // TUPLE2
        case 0x87: // TUPLE3
          this.#tuple(this.#several(operation - 0x84));
          break;
        case 0x5d: // EMPTY_LIST
          stack.push([]);
          break;
        case 0x61: // APPEND
          this.#append([this.#pop()]);
          break;
        case 0x65: // APPENDS
          this.#append(this.#items());
          break;
        case 0x7d: // EMPTY_DICT
          stack.push(new Map());
          break;
        case 0x73: // SETITEM
          this.#set(this.#several(2));
          break;
        case 0x75: // SETITEMS
          this.#set(this.#items());
          break;
        case 0x71: // BINPUT
          this.#remember(bytes[this.#take(1)]);
          break;
        case 0x72: // LONG_BINPUT
          this.#remember(bytes.readUInt32LE(this.#take(4)));
          break;
        case 0x94: // MEMOIZE
          this.#remember(this.#memo.size);
          break;
        case 0x68: // BINGET
          this.#recall(bytes[this.#take(1)]);
          break;
        case 0x6a: // LONG_BINGET
          this.#recall(bytes.readUInt32LE(this.#take(4)));
          break;
        case 0x63: // GLOBAL
          this.#named(this.#line(), this.#line());
          break;
        case 0x93: {
          // STACK_GLOBAL
          const [module, name] = this.#several(2);
          this.#named(module, name);
          break;
        }
        case 0x52: // REDUCE
          this.#reduce();
          break;
        case 0x62: // BUILD: attributes of an ordered dict, such as its versions, which are not needed
          this.#pop();
          this.#top();
          break;
        case 0x51: // BINPERSID
          stack.push(this.#rules.persistent(this.#pop()));
          break;
        default:
          this.#refuse(`has the opcode 0x${operation.toString(16).padStart(2, '0')}, which torch.save does not write`);
      }
    }
  }
}

/** Reads a pickle's object: dicts become Map, lists arrays, tuples frozen arrays. */
export function readPickle(bytes: Buffer, rules: PickleRules): unknown {
  return new Reader(bytes, rules).read();
}
