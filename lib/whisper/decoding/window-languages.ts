/** Language probabilities of a window, or of a part of it. */
import type { Engine } from '../../engine/engine.js';
import type { EngineRequest } from '../../engine/request.js';
import type { EncodedWindow } from '../../engine/tasks.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { likeliestLanguage } from '../checkpoint/languages.js';
import type { ModelWindow, Search, SearchResult } from '../model/search.js';
import { shortWindow } from './audio-context.js';

export type WhisperEngine = Engine<ModelWindow, Search, SearchResult>;

const nothing = new Uint8Array();

/**
 * A search that only reads <|startoftranscript|>. Its result has the no-speech probability and, if requested, the
 * logits of the language tokens.
 */
export const startSearch = ({ startToken }: Checkpoint['generation']): Search => ({
  prompt: [startToken],
  startIndex: 0,
  minimum: 0,
  maximum: 0,
  timestamps: false,
  beams: 1,
  temperature: 0,
  seed: 0,
  patience: 1,
  lengthPenalty: null,
  repetitionPenalty: 1,
  noRepeatNgramSize: 0,
  suppressed: nothing,
  top: 0,
  words: false,
});

interface LanguageOptions {
  /** The candidate languages. Default: all. */
  among?: readonly string[];
  /** The range of audio positions that is attended to. Default: all. */
  part?: { begin: number; positions: number };
}

/** Returns the probability of each language, by its code, in a window or in a part of it. */
export async function windowLanguages(
  window: EncodedWindow<Search, SearchResult>,
  { generation }: Checkpoint,
  { among, part }: LanguageOptions = {},
): Promise<Map<string, number>> {
  const { startLogits } = await window.search({ ...startSearch(generation), startLogits: true }, { part });
  return languageProbabilities(startLogits!, generation, among);
}

/** Computes the probability of each language from the logits after <|startoftranscript|>. */
export function languageProbabilities(
  startLogits: Float32Array,
  { languages }: Checkpoint['generation'],
  among?: readonly string[],
): Map<string, number> {
  const scores = Array.from(languages, ([code, id]): [string, number] => [code, startLogits[id]]).filter(
    ([code]) => among === undefined || among.includes(code),
  );
  const highest = Math.max(...scores.map(([, score]) => score));
  const total = scores.reduce((sum, [, score]) => sum + Math.exp(score - highest), 0);
  return new Map(scores.map(([code, score]) => [code, Math.exp(score - highest) / total]));
}

/** The minimum probability of the language that is detected in a short window. */
const minimumLanguageProbability = 0.5;

/**
 * Encodes a window and returns the probability of each language. If `margin` is given, a short window is tried first
 * (see `shortWindow`), and the full window is encoded only if no language is probable.
 */
export async function encodedLanguages(
  engine: WhisperEngine,
  request: EngineRequest,
  checkpoint: Checkpoint,
  window: ModelWindow,
  { frames, margin = null, among }: { frames?: number; margin?: number | null; among?: readonly string[] },
): Promise<Map<string, number>> {
  const short = margin === null ? null : shortWindow(checkpoint, window, frames, margin, engine.encodesTogether);
  for (const candidate of short ? [short.window, window] : [window]) {
    const encoded = await engine.encode(request, candidate);
    try {
      const probabilities = await windowLanguages(encoded, checkpoint, { among });
      const isCertain = likeliestLanguage(probabilities)[1] > minimumLanguageProbability;
      if (candidate === window || isCertain) return probabilities;
      engine.countEncodedAgain();
    } finally {
      encoded.close();
    }
  }
  throw new Error('There is no window.');
}
