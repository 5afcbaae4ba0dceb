import { OneheadError } from '../../errors.js';

/**
 * Reads and checks the fields of a JSON object. For an invalid field, throws OneheadError MODEL_INVALID; the message
 * names the file, the field, the expected and the found value.
 */
export class Fields {
  readonly #where: string;
  readonly #object: Record<string, unknown>;

  constructor(json: unknown, where: string) {
    this.#where = where;
    if (typeof json !== 'object' || json === null || Array.isArray(json)) {
      throw new OneheadError(
        'MODEL_INVALID',
        `${where}: expected a JSON object but found other JSON; download the file again.`,
      );
    }
    this.#object = json as Record<string, unknown>;
  }

  refuse(name: string, expected: string, found: unknown): never {
    const shown = JSON.stringify(found) ?? 'nothing';
    throw new OneheadError(
      'MODEL_INVALID',
      `${this.#where}: expected ${name} to be ${expected} but found ${shown.length > 80 ? `${shown.slice(0, 80)}...` : shown}.`,
      { argument: name, expected, received: shown },
    );
  }

  /** The field's value, or undefined if it is absent or null. */
  #value(name: string): unknown {
    return Object.hasOwn(this.#object, name) ? (this.#object[name] ?? undefined) : undefined;
  }

  /** True if the field exists and is not null. */
  present(name: string): boolean {
    return this.#value(name) !== undefined;
  }

  /** True if the field exists, even if it is null. */
  has(name: string): boolean {
    return Object.hasOwn(this.#object, name);
  }

  /** A whole number from 1 to `maximum`. */
  count(name: string, maximum: number, otherwise?: number): number {
    const value = this.#value(name) ?? otherwise;
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > maximum) {
      this.refuse(name, `a whole number from 1 to ${maximum}`, value);
    }
    return value as number;
  }

  text(name: string, otherwise: string): string {
    const value = this.#value(name) ?? otherwise;
    if (typeof value !== 'string') this.refuse(name, 'a string', value);
    return value;
  }

  flag(name: string, otherwise: boolean): boolean {
    const value = this.#value(name) ?? otherwise;
    if (typeof value !== 'boolean') this.refuse(name, 'true or false', value);
    return value;
  }

  #tokenOf(name: string, value: unknown, vocabulary: number): number {
    if (!Number.isInteger(value) || (value as number) < 0 || (value as number) >= vocabulary) {
      this.refuse(name, `token ids from 0 to ${vocabulary - 1}`, value);
    }
    return value as number;
  }

  /** A token id, or the first of a list: eos_token_id may be a list. */
  token<T extends number | null>(name: string, vocabulary: number, otherwise: T): number | T {
    let value = this.#value(name);
    if (Array.isArray(value)) value = value[0];
    return value === undefined ? otherwise : this.#tokenOf(name, value, vocabulary);
  }

  tokens(name: string, vocabulary: number): number[] {
    const value = this.#value(name) ?? [];
    if (!Array.isArray(value)) this.refuse(name, 'a list of token ids', value);
    return value.map((id) => this.#tokenOf(name, id, vocabulary));
  }

  /**
   * Pairs of a number of at least `minimum`, and a number below `vocabulary` or null. `what` describes a pair in
   * messages.
   */
  pairs(name: string, vocabulary: number, { minimum = 1, what = '[position, token]' } = {}): [number, number | null][] {
    const value = this.#value(name) ?? [];
    if (!Array.isArray(value)) this.refuse(name, `a list of ${what} pairs`, value);
    return value.map((pair): [number, number | null] => {
      if (!Array.isArray(pair) || pair.length !== 2 || !Number.isInteger(pair[0]) || pair[0] < minimum) {
        this.refuse(name, `a list of ${what} pairs`, pair);
      }
      return [pair[0], pair[1] === null ? null : this.#tokenOf(name, pair[1], vocabulary)];
    });
  }

  /** The entries of an object whose values are token ids. */
  tokenMap(name: string, vocabulary: number): [string, number][] {
    const value = this.#value(name) ?? {};
    if (typeof value !== 'object' || Array.isArray(value)) this.refuse(name, 'an object of token ids', value);
    return Object.entries(value).map(([text, id]) => [text, this.#tokenOf(name, id, vocabulary)]);
  }
}
