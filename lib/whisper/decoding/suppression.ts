/** Suppressed tokens: by id, or by class of symbols. */
import { refuse } from '../../checks.js';
import type { GenerationConfig } from '../checkpoint/config.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';

/**
 * 'default': the checkpoint's list (suppress_tokens in generation_config.json). 'symbols': openai/whisper's list of
 * speaker tags, brackets and music. 'numerals': digits, percent and currency signs, so that numbers are spelled out.
 */
export type SymbolClass = 'default' | 'symbols' | 'numerals';

/** From openai/whisper's tokenizer.py, non_speech_tokens. */
const symbols = [
  ...'"#()*+/:;<=>@[\\]^_`{|}~「」『』',
  ...'<< >> <<< >>> -- --- -( -[ (\' (" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪'.split(' '),
];
/** If one of these has several tokens, the first is suppressed; the other musical symbols begin with the same token. */
const music = [...'♩♪♫♬♭♮♯'];

function symbolTokens(tokenizer: WhisperTokenizer): number[] {
  // Hyphens and apostrophes are suppressed only at the beginning of a word.
  const suppressed = new Set([tokenizer.encode(' -')[0], tokenizer.encode(" '")[0]]);
  for (const symbol of [...symbols, ...music]) {
    for (const tokens of [tokenizer.encode(symbol), tokenizer.encode(` ${symbol}`)]) {
      if (tokens.length === 1 || music.includes(symbol)) suppressed.add(tokens[0]);
    }
  }
  return [...suppressed];
}

function numeralTokens(tokenizer: WhisperTokenizer, vocabulary: number): number[] {
  return Array.from({ length: vocabulary }, (_, id) => id).filter((id) => /[0-9%$£]/.test(tokenizer.decode([id])));
}

/** Cached masks of each checkpoint, by the suppressed tokens. */
const masks = new WeakMap<GenerationConfig, Map<string, Promise<Uint8Array>>>();
const maximumMasks = 16;

/**
 * Like `suppressionMask`, but returns the same array for the same tokens, so that a row that has it already is not
 * written again. The array must not be changed.
 */
export function sharedMask(...parameters: Parameters<typeof suppressionMask>): Promise<Uint8Array> {
  const [generation, , suppressTokens, suppressBlank] = parameters;
  const cached = masks.get(generation) ?? new Map<string, Promise<Uint8Array>>();
  masks.set(generation, cached);
  const key = `${suppressBlank} ${suppressTokens.join(' ')}`;
  let mask = cached.get(key);
  if (!mask) {
    mask = suppressionMask(...parameters);
    mask.catch(() => cached.delete(key));
    if (cached.size >= maximumMasks) cached.delete(cached.keys().next().value!);
    cached.set(key, mask);
  }
  return mask;
}

/**
 * Returns the mask of suppressed tokens, uint8 [vocabulary]: bit 0 excludes a token everywhere, bit 1 as the first
 * generated token. Throws OneheadError INVALID_ARGUMENT.
 */
export async function suppressionMask(
  generation: GenerationConfig,
  vocabulary: number,
  suppressTokens: readonly (number | SymbolClass)[],
  suppressBlank: boolean,
  tokenizer: () => Promise<WhisperTokenizer>,
): Promise<Uint8Array> {
  const mask = new Uint8Array(vocabulary);
  const classes: Record<SymbolClass, () => Promise<readonly number[]>> = {
    default: async () => generation.suppressTokens,
    symbols: async () => symbolTokens(await tokenizer()),
    numerals: async () => numeralTokens(await tokenizer(), vocabulary),
  };
  const isId = (id: unknown): id is number =>
    Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabulary;
  for (const [index, entry] of suppressTokens.entries()) {
    if (!(typeof entry === 'string' ? Object.hasOwn(classes, entry) : isId(entry))) {
      const expected = `a token id from 0 to ${vocabulary - 1}, 'default', 'symbols' or 'numerals'`;
      refuse(`suppressTokens[${index}]`, expected, entry);
    }
    for (const id of typeof entry === 'string' ? await classes[entry]() : [entry]) mask[id] |= 1;
  }
  if (suppressBlank) for (const id of generation.beginSuppressTokens) mask[id] |= 2;
  return mask;
}
