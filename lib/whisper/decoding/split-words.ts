/** Text tokens cut into words, as openai/whisper's tokenizer.py does it. */
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';

/** Written without spaces: their words are what decodes to whole characters. */
const spaceless = new Set(['zh', 'ja', 'th', 'lo', 'my', 'yue']);
const punctuation = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~';
const replacement = '\ufffd';

export interface TokenWord {
  text: string;
  tokens: number[];
}

/** Cuts wherever the tokens so far are whole characters. */
function splitCharacters(tokens: readonly number[], decode: (tokens: readonly number[]) => string): TokenWord[] {
  const whole = decode(tokens);
  const words: TokenWord[] = [];
  let pending: number[] = [];
  let place = 0;
  for (const token of tokens) {
    pending.push(token);
    const text = decode(pending);
    const broken = text.indexOf(replacement);
    // A replacement character that the whole text has there too is really in it.
    if (broken >= 0 && whole[place + broken] !== replacement) continue;
    words.push({ text, tokens: pending });
    place += text.length;
    pending = [];
  }
  if (pending.length > 0) words.push({ text: decode(pending), tokens: pending });
  return words;
}

/** Text tokens as words, a blank before each belonging to it; marks of punctuation are words of their own. */
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
