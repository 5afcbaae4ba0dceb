/** Normalizes text by the rules of openai/whisper, which published word error rates use. */
import { englishNumbers } from './english-numbers.js';
import spelling from './english-spelling.json' with { type: 'json' };
import { boundary } from './word-boundary.js';

export const normalizers = { english: normalizeEnglish, basic: normalizeBasic, none: (text: string) => text };
export type NormalizerName = keyof typeof normalizers;

const americanSpellings = new Map(Object.entries(spelling));

/** ASCII equivalents of letters that Unicode's NFKD does not decompose. */
const asciiLetters = new Map(
  Object.entries({ œ: 'oe', ø: 'o', æ: 'ae', ß: 'ss', đ: 'd', ð: 'd', þ: 'th', ł: 'l' }).flatMap(([letter, ascii]) => [
    [letter, ascii],
    [letter.toUpperCase(), letter === 'þ' || letter === 'ß' ? ascii : ascii.toUpperCase()],
  ]),
);

/** Removes diacritics, and replaces symbols and punctuation by spaces, except for the characters in `kept`. */
function removeDiacritics(text: string, kept: string): string {
  return Array.from(text.normalize('NFKD'), (character) => {
    if (kept.includes(character)) return character;
    const ascii = asciiLetters.get(character);
    if (ascii !== undefined) return ascii;
    if (/\p{Mn}/u.test(character)) return '';
    return /[\p{M}\p{S}\p{P}]/u.test(character) ? ' ' : character;
  }).join('');
}

/** Removes text in brackets, which was not spoken. */
const removeBrackets = (text: string): string => text.replace(/[<[][^>\]]*[>\]]/g, '').replace(/\(([^)]+?)\)/g, '');

/** Normalizes text of any language: converts it to lower case, and removes punctuation and symbols. */
export function normalizeBasic(text: string): string {
  return removeBrackets(text.toLowerCase())
    .normalize('NFKC')
    .replace(/[\p{M}\p{S}\p{P}]/gu, ' ')
    .toLowerCase()
    .replace(/\s+/g, ' ');
}

const titles = {
  mr: 'mister',
  mrs: 'missus',
  st: 'saint',
  dr: 'doctor',
  prof: 'professor',
  capt: 'captain',
  gov: 'governor',
  ald: 'alderman',
  gen: 'general',
  sen: 'senator',
  rep: 'representative',
  pres: 'president',
  rev: 'reverend',
  hon: 'honorable',
  asst: 'assistant',
  assoc: 'associate',
  lt: 'lieutenant',
  col: 'colonel',
  jr: 'junior',
  sr: 'senior',
  esq: 'esquire',
};
const contractions: [string, string][] = [
  ["won't", 'will not'],
  ["can't", 'can not'],
  ["let's", 'let us'],
  ["ain't", 'aint'],
  ["y'all", 'you all'],
  ['wanna', 'want to'],
  ['gotta', 'got to'],
  ['gonna', 'going to'],
  ["i'ma", 'i am going to'],
  ['imma', 'i am going to'],
  ['woulda', 'would have'],
  ['coulda', 'could have'],
  ['shoulda', 'should have'],
  ["ma'am", 'madam'],
];
/** Contracted ends of words, in the order in which they are replaced. */
const contractedEndings: [string, string][] = [
  ["'d been", ' had been'],
  ["'s been", ' has been'],
  ["'d gone", ' had gone'],
  ["'s gone", ' has gone'],
  ["'d done", ' had done'],
  ["'s got", ' has got'],
  ["n't", ' not'],
  ["'re", ' are'],
  ["'s", ' is'],
  ["'d", ' would'],
  ["'ll", ' will'],
  ["'t", ' not'],
  ["'ve", ' have'],
  ["'m", ' am'],
];
const replacements: [RegExp, string][] = [
  ...contractions.map(([from, to]): [RegExp, string] => [new RegExp(boundary + from + boundary, 'gu'), to]),
  ...Object.entries(titles).map(([from, to]): [RegExp, string] => [
    new RegExp(boundary + from + boundary, 'gu'),
    `${to} `,
  ]),
  ...contractedEndings.map(([from, to]): [RegExp, string] => [new RegExp(from + boundary, 'gu'), to]),
];

const hesitations = new RegExp(`${boundary}(hmm|mm|mhm|mmm|uh|um)${boundary}`, 'gu');

/** Normalizes English text: also expands contractions and titles, and unifies numbers and spellings. */
export function normalizeEnglish(text: string): string {
  let result = removeBrackets(text.toLowerCase()).replace(hesitations, '').replace(/\s+'/g, "'");
  for (const [from, to] of replacements) result = result.replace(from, to);
  result = result.replace(/(\d),(\d)/g, '$1$2').replace(/\.([^0-9]|$)/g, ' $1');
  result = englishNumbers(removeDiacritics(result, '.%$¢€£'));
  return result
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word) => americanSpellings.get(word) ?? word)
    .join(' ')
    .replace(/[.$¢€£]([^0-9])/g, ' $1')
    .replace(/([^0-9])%/g, '$1 ')
    .replace(/\s+/g, ' ');
}
