/** The shapes of OpenAI's Whisper checkpoints and of the bundled model, and their variants. */

import { countOf, listOf, refuse } from '../../checks.js';
import { parseConfig, type WhisperConfig } from '../../whisper/checkpoint/config.js';
import { requireConfig } from '../io-model/arguments.js';

interface Size {
  width: number;
  layers: number;
  decoderLayers?: number;
  heads: number;
  mels?: number;
  vocabulary?: number;
}

const sizes: Record<string, Size & { fields?: Record<string, number> }> = {
  // The bundled model, with windows of 10 s.
  micro: {
    ...{ width: 128, layers: 6, decoderLayers: 3, heads: 4, vocabulary: 3266 },
    fields: { max_source_positions: 500, max_target_positions: 192, decoder_start_token_id: 2757, eos_token_id: 2756 },
  },
  tiny: { width: 384, layers: 4, heads: 6 },
  base: { width: 512, layers: 6, heads: 8 },
  small: { width: 768, layers: 12, heads: 12 },
  medium: { width: 1024, layers: 24, heads: 16 },
  'large-v3': { width: 1280, layers: 32, heads: 20, mels: 128, vocabulary: 51866 },
  turbo: { width: 1280, layers: 32, decoderLayers: 4, heads: 20, mels: 128, vocabulary: 51866 },
};

export const whisperSizes: readonly string[] = Object.keys(sizes);

/**
 * The fields of config.json that onehead reads, for a Whisper model of this size. Throws OneheadError INVALID_ARGUMENT
 * for an unknown size.
 */
export function whisperConfigJson(name: string): Record<string, unknown> {
  if (typeof name !== 'string' || !Object.hasOwn(sizes, name))
    refuse('model', `a size of Whisper (${whisperSizes.join(', ')})`, name);
  const { width, layers, decoderLayers = layers, heads, mels = 80, vocabulary = 51865, fields } = sizes[name];
  return {
    model_type: 'whisper',
    d_model: width,
    encoder_layers: layers,
    decoder_layers: decoderLayers,
    encoder_attention_heads: heads,
    decoder_attention_heads: heads,
    encoder_ffn_dim: 4 * width,
    decoder_ffn_dim: 4 * width,
    num_mel_bins: mels,
    vocab_size: vocabulary,
    decoder_start_token_id: 50258,
    eos_token_id: 50257,
    ...fields,
  };
}

export function whisperConfig(name: string): WhisperConfig {
  return parseConfig(whisperConfigJson(name), name);
}

/** The parts of a Whisper model whose query heads may share key/value heads. */
export const attentionParts = ['encoder', 'self', 'cross'] as const;
export type AttentionPart = (typeof attentionParts)[number];

/** The same shape with this many key/value heads in the named parts. */
export function withKeyValueHeads(
  config: WhisperConfig,
  parts: readonly AttentionPart[],
  keyValueHeads: number,
): WhisperConfig {
  requireConfig(config);
  listOf('parts', parts);
  countOf('keyValueHeads', keyValueHeads);
  const has = (part: AttentionPart) => parts.includes(part);
  return {
    ...config,
    encoder: { ...config.encoder, ...(has('encoder') && { keyValueHeads }) },
    decoder: {
      ...config.decoder,
      ...(has('self') && { keyValueHeads }),
      ...(has('cross') && { crossKeyValueHeads: keyValueHeads }),
    },
  };
}
