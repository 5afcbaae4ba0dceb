/** Splits text tokens into words, as openai/whisper's tokenizer.py does. */
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';

/** Languages that are written without spaces. Their text is split into the shortest runs of complete characters. */
const withoutSpaces = new Set(['zh', 'ja', 'th', 'lo', 'my', 'yue']);
const punctuation = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~';
const replacement = '\ufffd';

export interface TokenWord {
  text: string;
  tokens: number[];
}

/** Splits tokens after each token that completes a character. */
function splitCharacters(tokens: readonly number[], decode: (tokens: readonly number[]) => string): TokenWord[] {
  const fullText = decode(tokens);
  const words: TokenWord[] = [];
  let pending: number[] = [];
  let position = 0;
  for (const token of tokens) {
    pending.push(token);
    const text = decode(pending);
    const broken = text.indexOf(replacement);
    // A replacement character stands for an incomplete character, unless the full text has it too.
    if (broken >= 0 && fullText[position + broken] !== replacement) continue;
    words.push({ text, tokens: pending });
    position += text.length;
    pending = [];
  }
  if (pending.length > 0) words.push({ text: decode(pending), tokens: pending });
  return words;
}

/** Splits text tokens into words, each with the space before it. Punctuation marks are separate words. */
export function splitWords(
  tokens: readonly number[],
  language: string | null,
  tokenizer: Pick<WhisperTokenizer, 'decode'>,
): TokenWord[] {
  const parts = splitCharacters(tokens, (pending) => tokenizer.decode(pending));
  if (language !== null && withoutSpaces.has(language)) return parts;
  const words: TokenWord[] = [];
  for (const part of parts) {
    const last = words.at(-1);
    if (!last || part.text.startsWith(' ') || punctuation.includes(part.text.trim())) {
      words.push({ text: part.text, tokens: [...part.tokens] });
    } else {
      last.text += part.text;
      last.tokens.push(...part.tokens);
    }
  }
  return words;
}
