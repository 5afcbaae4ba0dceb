/** The cross-attention heads from which word times are computed. */
import type { GenerationConfig, WhisperConfig } from '../checkpoint/config.js';

/** 'speech': by the attention of all heads together and the loudness; 'attention': by openai/whisper's method. */
export type WordTimes = 'speech' | 'attention';

export interface WordHeads {
  method: WordTimes;
  /** [layer, head] of each. */
  heads: readonly (readonly [number, number])[];
}

/**
 * The heads for a method: `given` if present, otherwise the checkpoint's alignment heads for 'attention', and all heads
 * of the later half of the layers for 'speech'.
 */
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

/** Bytes of attention scores or weights that are stored for each row of the decoder. */
export function attentionBytes({ decoder, targetPositions, sourcePositions }: WhisperConfig, words: WordHeads): number {
  const counts = headsOfLayers(words, decoder.layers);
  const scores =
    words.method === 'attention'
      ? targetPositions * words.heads.length
      : targetPositions + [...new Set(counts)].reduce((sum, count) => sum + count, 0);
  return scores * sourcePositions * 4;
}
