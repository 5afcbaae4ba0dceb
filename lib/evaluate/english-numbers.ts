/** Converts English number words to digits, by the rules of openai/whisper's EnglishNumberNormalizer. */
import { boundary } from './word-boundary.js';

const unitWords =
  'one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen';
const unitNames = unitWords.split(' ');
const tenNames = 'twenty thirty forty fifty sixty seventy eighty ninety'.split(' ');
const multiplierNames =
  'thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion decillion'.split(
    ' ',
  );

/** The value of a plural or ordinal, and its suffix in digits. */
interface Suffixed {
  value: bigint;
  suffix: string;
}

const zeros = new Set(['o', 'oh', 'zero']);
const ones = new Map(unitNames.map((name, i) => [name, BigInt(i + 1)]));
const tens = new Map(tenNames.map((name, i) => [name, BigInt(20 + 10 * i)]));
const multipliers = new Map([
  ['hundred', 100n] as const,
  ...multiplierNames.map((name, i) => [name, 1000n ** BigInt(i + 1)] as const),
]);

const irregularOrdinals: Record<string, [string, string]> = {
  one: ['first', 'st'],
  two: ['second', 'nd'],
  three: ['third', 'rd'],
  five: ['fifth', 'th'],
  twelve: ['twelfth', 'th'],
};
const onesSuffixed = new Map<string, Suffixed>([['zeroth', { value: 0n, suffix: 'th' }]]);
for (const [name, value] of ones) {
  onesSuffixed.set(name === 'six' ? 'sixes' : `${name}s`, { value, suffix: 's' });
  const [ordinal, suffix] = irregularOrdinals[name] ?? [name + (name.endsWith('t') ? 'h' : 'th'), 'th'];
  onesSuffixed.set(ordinal, { value, suffix });
}
const tensSuffixed = new Map<string, Suffixed>();
for (const [name, value] of tens) {
  tensSuffixed.set(name.replace('y', 'ies'), { value, suffix: 's' });
  tensSuffixed.set(name.replace('y', 'ieth'), { value, suffix: 'th' });
}
const multipliersSuffixed = new Map<string, Suffixed>();
for (const [name, value] of multipliers) {
  multipliersSuffixed.set(`${name}s`, { value, suffix: 's' });
  multipliersSuffixed.set(`${name}th`, { value, suffix: 'th' });
}
const signs = new Map([
  ['minus', '-'],
  ['negative', '-'],
  ['plus', '+'],
  ['positive', '+'],
]);
const currencies = new Map<string, string>();
for (const [name, symbol] of Object.entries({ pound: '£', euro: '€', dollar: '$', cent: '¢' })) {
  currencies.set(name, symbol).set(`${name}s`, symbol);
}
const prefixes = new Set([...signs.values(), ...currencies.values()]);
const specials = new Set(['and', 'double', 'triple', 'point', 'per', 'percent']);
const decimals = new Set([...ones.keys(), ...tens.keys(), ...zeros]);
const numberWords = [
  zeros,
  ones,
  onesSuffixed,
  tens,
  tensSuffixed,
  multipliers,
  multipliersSuffixed,
  signs,
  currencies,
  specials,
];
const isNumberWord = (word: string | undefined): boolean =>
  word !== undefined && numberWords.some((words) => words.has(word));
const isNumeric = (word: string | undefined): boolean => word !== undefined && /^\d+(\.\d+)?$/.test(word);

/** `value` times `multiplier`; null if that is not an integer, or `value` is not a number. */
function times(value: string | bigint, multiplier: bigint): bigint | null {
  const [, whole, fraction = ''] = /^(?=\.?\d)(\d*)(?:\.(\d*))?$/.exec(String(value)) ?? [];
  if (whole === undefined) return null;
  const scale = 10n ** BigInt(fraction.length);
  const product = BigInt(whole + fraction) * multiplier;
  return product % scale === 0n ? product / scale : null;
}

/** Converts words one after another. A number is pending until the next word shows that it is complete. */
class Converter {
  readonly #output: string[] = [];
  /** The pending number; a string for a sequence of digits: 'one oh one' is 101. */
  #value: bigint | string | null = null;
  #prefix = '';
  #skip = false;

  convert(words: readonly string[]): string[] {
    words.forEach((word, i) => {
      if (this.#skip) this.#skip = false;
      else this.#word(words[i - 1], word, words[i + 1]);
    });
    this.#flush();
    return this.#output;
  }

  /** Writes a text, preceded by the pending prefix. */
  #write(text: string): void {
    this.#output.push(this.#prefix + text);
    this.#value = null;
    this.#prefix = '';
  }
  #flush(): void {
    if (this.#value !== null) this.#write(String(this.#value));
  }
  /** The digits of the pending number; '' for 0. */
  #digits(): string {
    return this.#value === null || this.#value === 0n ? '' : String(this.#value);
  }

  #word(before: string | undefined, word: string, after: string | undefined): void {
    const signed = prefixes.has(word[0]);
    const plain = signed ? word.slice(1) : word;
    if (isNumeric(plain)) this.#number(signed ? word[0] : null, word, plain);
    else if (!isNumberWord(word)) {
      this.#flush();
      this.#write(word);
    } else if (zeros.has(word)) this.#value = `${this.#digits()}0`;
    else if (ones.has(word)) this.#value = this.#withOnes(before, ones.get(word)!);
    else if (onesSuffixed.has(word)) {
      const { value, suffix } = onesSuffixed.get(word)!;
      this.#write(String(this.#withOnes(before, value)) + suffix);
    } else if (tens.has(word)) this.#value = this.#withTens(tens.get(word)!);
    else if (tensSuffixed.has(word)) {
      const { value, suffix } = tensSuffixed.get(word)!;
      this.#write(String(this.#withTens(value)) + suffix);
    } else if (multipliers.has(word)) this.#multiply(multipliers.get(word)!);
    else if (multipliersSuffixed.has(word)) {
      const { value, suffix } = multipliersSuffixed.get(word)!;
      this.#multiply(value);
      this.#write(String(this.#value) + suffix);
    } else if (signs.has(word)) {
      this.#flush();
      if (isNumberWord(after) || isNumeric(after)) this.#prefix = signs.get(word)!;
      else this.#write(word);
    } else if (currencies.has(word)) {
      if (this.#value === null) this.#write(word);
      else {
        this.#prefix = currencies.get(word)!;
        this.#flush();
      }
    } else this.#special(before, word, after);
  }

  #number(sign: string | null, word: string, plain: string): void {
    if (typeof this.#value === 'string' && this.#value.endsWith('.')) {
      this.#value += word; // after a point: decimals, or parts of a network address
      return;
    }
    this.#flush();
    if (sign !== null) this.#prefix = sign;
    this.#value = /^\d+(\.0*)?$/.test(plain) ? BigInt(plain.split('.')[0]) : plain;
  }

  /** The pending number followed by a number from 1 to 19. */
  #withOnes(before: string | undefined, unit: bigint): bigint | string {
    const value = this.#value;
    if (value === null) return unit;
    if (typeof value === 'string' || ones.has(before ?? '')) {
      const replacesZero = tens.has(before ?? '') && unit < 10n;
      return replacesZero ? String(value).slice(0, -1) + unit : `${value}${unit}`;
    }
    return value % (unit < 10n ? 10n : 100n) === 0n ? value + unit : `${value}${unit}`;
  }
  #withTens(ten: bigint): bigint | string {
    const value = this.#value;
    if (value === null) return ten;
    return typeof value === 'string' || value % 100n !== 0n ? `${value}${ten}` : value + ten;
  }

  #multiply(multiplier: bigint): void {
    const value = this.#value;
    if (value === null) this.#value = multiplier;
    else if (typeof value === 'string' || value === 0n) {
      const product = times(value, multiplier);
      if (product === null) this.#flush();
      this.#value = product ?? multiplier;
    } else this.#value = (value / 1000n) * 1000n + (value % 1000n) * multiplier;
  }

  #special(before: string | undefined, word: string, after: string | undefined): void {
    if (word === 'percent' || word === 'per') {
      const joins = word === 'percent' || after === 'cent';
      this.#skip = word === 'per' && after === 'cent' && this.#value !== null;
      if (this.#value !== null && joins) this.#write(`${this.#value}%`);
      else {
        this.#flush();
        this.#write(word);
      }
      return;
    }
    const numberFollows = isNumberWord(after) || isNumeric(after);
    if (word === 'and' && numberFollows && multipliers.has(before ?? '')) return; // 'two hundred and five'
    const repeated = ones.get(after ?? '') ?? (zeros.has(after ?? '') ? 0n : null);
    if ((word === 'double' || word === 'triple') && numberFollows && repeated !== null) {
      this.#value = this.#digits() + String(repeated).repeat(word === 'double' ? 2 : 3);
      this.#skip = true;
      return;
    }
    if (word === 'point' && numberFollows) {
      if (decimals.has(after ?? '') || isNumeric(after)) this.#value = `${this.#digits()}.`;
      return;
    }
    this.#flush();
    this.#write(word);
  }
}

const half = new RegExp(`${boundary}and\\s+a\\s+half${boundary}`, 'u');
const spacedSuffix = new RegExp(`([0-9])\\s+(st|nd|rd|th|s)${boundary}`, 'gu');
const wholeAndCents = new RegExp(`([€£$])([0-9]+) (?:and )?¢([0-9]{1,2})${boundary}`, 'gu');
const centsOnly = new RegExp(`[€£$]0.([0-9]{1,2})${boundary}`, 'gu');
const one = new RegExp(`${boundary}1(s?)${boundary}`, 'gu');

/** Replaces 'and a half' by 'point five' after a number, and separates letters from digits by spaces. */
function prepare(text: string): string {
  const parts = text.split(half);
  const joined: string[] = [];
  parts.forEach((part, i) => {
    if (part.trim() === '') return;
    joined.push(part);
    if (i === parts.length - 1) return;
    const last = part.trimEnd().split(/\s+/).at(-1) ?? '';
    joined.push(decimals.has(last) || multipliers.has(last) ? 'point five' : 'and a half');
  });
  return joined
    .join(' ')
    .replace(/([a-z])([0-9])/g, '$1 $2')
    .replace(/([0-9])([a-z])/g, '$1 $2')
    .replace(spacedSuffix, '$1$2');
}

/** Replaces number words by digits in lower-case text. */
export function englishNumbers(text: string): string {
  const words = prepare(text)
    .split(/\s+/)
    .filter((word) => word !== '');
  return new Converter()
    .convert(words)
    .join(' ')
    .replace(wholeAndCents, (_, currency, whole, cents) => {
      return `${currency}${whole}.${String(Number(cents)).padStart(2, '0')}`;
    })
    .replace(centsOnly, (_, cents) => `¢${Number(cents)}`)
    .replace(one, 'one$1');
}
