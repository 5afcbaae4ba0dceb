/** Suppressed tokens: by id, or by class of symbols. */
import { described } from '../../checks.js';
import { OneheadError } from '../../errors.js';
import type { GenerationConfig } from '../checkpoint/config.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';

/**
 * 'default': the checkpoint's list (generation_config.json's suppress_tokens). 'symbols': openai/whisper's list of
 * speaker tags, brackets and music. 'numerals': digits, per cent and currencies, so that numbers are spelled out.
 */
export type SymbolClass = 'default' | 'symbols' | 'numerals';

/** From openai/whisper's tokenizer.py, non_speech_tokens. */
const symbols = [
  ...'"#()*+/:;<=>@[\\]^_`{|}~「」『』',
  ...'<< >> <<< >>> -- --- -( -[ (\' (" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪'.split(' '),
];
/** Where one of these takes several tokens, the first is suppressed: other symbols of its kind begin with it too. */
const music = [...'♩♪♫♬♭♮♯'];

function symbolTokens(tokenizer: WhisperTokenizer): number[] {
  // Hyphens and apostrophes are suppressed only at the beginning of a word.
  const found = new Set([tokenizer.encode(' -')[0], tokenizer.encode(" '")[0]]);
  for (const symbol of [...symbols, ...music]) {
    for (const tokens of [tokenizer.encode(symbol), tokenizer.encode(` ${symbol}`)]) {
      if (tokens.length === 1 || music.includes(symbol)) found.add(tokens[0]);
    }
  }
  return [...found];
}

function numeralTokens(tokenizer: WhisperTokenizer, vocabulary: number): number[] {
  return Array.from({ length: vocabulary }, (_, id) => id).filter((id) => /[0-9%$£]/.test(tokenizer.decode([id])));
}

/**
 * Masks by checkpoint and by what was asked. A row of a device that already has the same array is not written again.
 */
const masks = new WeakMap<GenerationConfig, Map<string, Promise<Uint8Array>>>();
const mostMasks = 16;

/** Like `suppressionMask`, but returns the same array for the same tokens. It must not be changed. */
export function sharedMask(...asked: Parameters<typeof suppressionMask>): Promise<Uint8Array> {
  const [generation, , wanted, suppressBlank] = asked;
  const known = masks.get(generation) ?? new Map<string, Promise<Uint8Array>>();
  masks.set(generation, known);
  const key = `${suppressBlank} ${wanted.join(' ')}`;
  let mask = known.get(key);
  if (!mask) {
    mask = suppressionMask(...asked);
    mask.catch(() => known.delete(key));
    if (known.size >= mostMasks) known.delete(known.keys().next().value!);
    known.set(key, mask);
  }
  return mask;
}

/**
 * Returns uint8 [vocabulary]: bit 0 for tokens that are never written, bit 1 for those that are never first. Throws
 * OneheadError INVALID_ARGUMENT.
 */
export async function suppressionMask(
  generation: GenerationConfig,
  vocabulary: number,
  wanted: readonly (number | SymbolClass)[],
  suppressBlank: boolean,
  tokenizer: () => Promise<WhisperTokenizer>,
): Promise<Uint8Array> {
  const mask = new Uint8Array(vocabulary);
  const classes: Record<SymbolClass, () => Promise<readonly number[]>> = {
    default: async () => generation.suppressTokens,
    symbols: async () => symbolTokens(await tokenizer()),
    numerals: async () => numeralTokens(await tokenizer(), vocabulary),
  };
  for (const one of wanted) {
    if (
      typeof one === 'string' ? !Object.hasOwn(classes, one) : !Number.isInteger(one) || one < 0 || one >= vocabulary
    ) {
      throw new OneheadError(
        'INVALID_ARGUMENT',
        `Expected suppressTokens to hold token ids from 0 to ${vocabulary - 1}, 'default', 'symbols' or 'numerals' but received ${described(one)}.`,
        { argument: 'suppressTokens' },
      );
    }
    for (const id of typeof one === 'string' ? await classes[one]() : [one]) mask[id] |= 1;
  }
  if (suppressBlank) for (const id of generation.beginSuppressTokens) mask[id] |= 2;
  return mask;
}
