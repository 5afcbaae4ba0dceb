import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { normalizeBasic, normalizeEnglish } from '../../lib/evaluate/normalize.js';

const phrases: { text: string; english: string; basic: string }[] = JSON.parse(
  readFileSync(new URL('../fixtures/normalized.json', import.meta.url), 'utf8'),
);

describe.each(phrases)('$text', ({ text, english, basic }) => {
  it('is normalized as English like openai/whisper', () => expect(normalizeEnglish(text)).toBe(english));
  it('is normalized as any language like openai/whisper', () => expect(normalizeBasic(text)).toBe(basic));
});
