/** Normalizes text by openai/whisper's rules, with which published word error rates are computed. */
import { englishNumbers } from './english-numbers.js';
import spelling from './english-spelling.json' with { type: 'json' };

export const normalizers = { english: normalizeEnglish, basic: normalizeBasic, none: (text: string) => text };
export type NormalizerName = keyof typeof normalizers;

const american = new Map(Object.entries(spelling));

/** Letters that Unicode's NFKD does not decompose. */
const letters = new Map(
  Object.entries({ œ: 'oe', ø: 'o', æ: 'ae', ß: 'ss', đ: 'd', ð: 'd', þ: 'th', ł: 'l' }).flatMap(([one, plain]) => [
    [one, plain],
    [one.toUpperCase(), one === 'þ' || one === 'ß' ? plain : plain.toUpperCase()],
  ]),
);

function withoutMarks(text: string, kept: string): string {
  return Array.from(text.normalize('NFKD'), (c) => {
    if (kept.includes(c)) return c;
    const plain = letters.get(c);
    if (plain !== undefined) return plain;
    if (/\p{Mn}/u.test(c)) return '';
    return /[\p{M}\p{S}\p{P}]/u.test(c) ? ' ' : c;
  }).join('');
}

/** Removes text in brackets, which was not spoken. */
const withoutAsides = (text: string): string => text.replace(/[<[][^>\]]*[>\]]/g, '').replace(/\(([^)]+?)\)/g, '');

/** For any language: lower case, without punctuation and symbols. */
export function normalizeBasic(text: string): string {
  return withoutAsides(text.toLowerCase())
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
/** Contractions at the ends of words, in the order in which they are replaced. */
const endings: [string, string][] = [
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
  ...contractions.map(([from, to]): [RegExp, string] => [new RegExp(`\\b${from}\\b`, 'g'), to]),
  ...Object.entries(titles).map(([from, to]): [RegExp, string] => [new RegExp(`\\b${from}\\b`, 'g'), `${to} `]),
  ...endings.map(([from, to]): [RegExp, string] => [new RegExp(`${from}\\b`, 'g'), to]),
];

/** For English: also expands contractions and titles, and unifies numbers and British spellings. */
export function normalizeEnglish(text: string): string {
  let result = withoutAsides(text.toLowerCase())
    .replace(/\b(hmm|mm|mhm|mmm|uh|um)\b/g, '')
    .replace(/\s+'/g, "'");
  for (const [from, to] of replacements) result = result.replace(from, to);
  result = result.replace(/(\d),(\d)/g, '$1$2').replace(/\.([^0-9]|$)/g, ' $1');
  result = englishNumbers(withoutMarks(result, '.%$¢€£'));
  return result
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word) => american.get(word) ?? word)
    .join(' ')
    .replace(/[.$¢€£]([^0-9])/g, ' $1')
    .replace(/([^0-9])%/g, '$1 ')
    .replace(/\s+/g, ' ');
}
