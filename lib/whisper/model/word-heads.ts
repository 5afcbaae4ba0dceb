/** The cross-attention heads that words are timed by. */
import type { GenerationConfig, WhisperConfig } from '../checkpoint/config.js';

/** 'speech': by all heads together, and by how loud it is; 'attention': by openai/whisper's method. */
export type WordTimes = 'speech' | 'attention';

export interface WordHeads {
  method: WordTimes;
  /** Layer and head of each. */
  heads: readonly (readonly [number, number])[];
}

/** Those that were `given`; else those that the method was found to be best with. */
export function wordHeads(
  { decoder }: WhisperConfig,
  { alignmentHeads }: Pick<GenerationConfig, 'alignmentHeads'>,
  method: WordTimes = 'speech',
  given?: WordHeads['heads'],
): WordHeads {
  if (given || method === 'attention') return { method, heads: given ?? alignmentHeads };
  const layers = Array.from({ length: decoder.layers }, (_, layer) => layer).slice(Math.floor(decoder.layers / 2));
  const all = Array.from({ length: decoder.heads }, (_, head) => head);
  return { method, heads: layers.flatMap((layer) => all.map((head) => [layer, head] as const)) };
}

/** The number of heads in each layer. */
export function headsOfLayers({ heads }: WordHeads, layers: number): number[] {
  const counts = new Array<number>(layers).fill(0);
  for (const [layer] of heads) counts[layer] += 1;
  return counts;
}

/** Bytes of what is kept of attention for each row. */
export function attentionBytes({ decoder, targetPositions, sourcePositions }: WhisperConfig, words: WordHeads): number {
  const counts = headsOfLayers(words, decoder.layers);
  const scores =
    words.method === 'attention'
      ? targetPositions * words.heads.length
      : targetPositions + [...new Set(counts)].reduce((sum, count) => sum + count, 0);
  return scores * sourcePositions * 4;
}
