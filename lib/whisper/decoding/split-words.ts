/** Splits text tokens into words, as openai/whisper's tokenizer.py does. */
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';

/** Languages written without spaces: their words end wherever tokens decode to whole characters. */
const spaceless = new Set(['zh', 'ja', 'th', 'lo', 'my', 'yue']);
const punctuation = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~';
const replacement = '\ufffd';

export interface TokenWord {
  text: string;
  tokens: number[];
}

/** Splits wherever the tokens so far are whole characters. */
function splitCharacters(tokens: readonly number[], decode: (tokens: readonly number[]) => string): TokenWord[] {
  const whole = decode(tokens);
  const words: TokenWord[] = [];
  let pending: number[] = [];
  let place = 0;
  for (const token of tokens) {
    pending.push(token);
    const text = decode(pending);
    const broken = text.indexOf(replacement);
    // A replacement character that is also in the whole text is part of the text.
    if (broken >= 0 && whole[place + broken] !== replacement) continue;
    words.push({ text, tokens: pending });
    place += text.length;
    pending = [];
  }
  if (pending.length > 0) words.push({ text: decode(pending), tokens: pending });
  return words;
}

/** Splits text tokens into words, each with the blank before it. Punctuation marks are words of their own. */
export function splitWords(
  tokens: readonly number[],
  language: string | null,
  tokenizer: Pick<WhisperTokenizer, 'decode'>,
): TokenWord[] {
  const parts = splitCharacters(tokens, (some) => tokenizer.decode(some));
  if (language !== null && spaceless.has(language)) return parts;
  const words: TokenWord[] = [];
  for (const { text, tokens: own } of parts) {
    const last = words.at(-1);
    if (!last || text.startsWith(' ') || punctuation.includes(text.trim())) words.push({ text, tokens: [...own] });
    else {
      last.text += text;
      last.tokens.push(...own);
    }
  }
  return words;
}
