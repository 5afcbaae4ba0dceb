/** Random Whisper checkpoints of true shapes, so that speed can be measured where no real weights can be had. */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { parseConfig } from '../lib/whisper/config.js';
import { checkpointTensors } from '../lib/whisper/weights.js';

interface Size {
  width: number;
  layers: number;
  decoderLayers?: number;
  heads: number;
  mels?: number;
  vocabulary?: number;
}

export const sizes: Record<string, Size> = {
  tiny: { width: 384, layers: 4, heads: 6 },
  base: { width: 512, layers: 6, heads: 8 },
  small: { width: 768, layers: 12, heads: 12 },
  medium: { width: 1024, layers: 24, heads: 16 },
  'large-v3': { width: 1280, layers: 32, heads: 20, mels: 128, vocabulary: 51866 },
  turbo: { width: 1280, layers: 32, decoderLayers: 4, heads: 20, mels: 128, vocabulary: 51866 },
};

/** Writes a checkpoint of this size in bfloat16, the same one each time, and gives its folder. */
export function writeRandomCheckpoint(folder: string, name: string): string {
  const size = sizes[name];
  if (!size) throw new Error(`Expected a size among ${Object.keys(sizes).join(', ')} but received '${name}'.`);
  const vocabulary = size.vocabulary ?? 51865;
  const json = {
    model_type: 'whisper',
    d_model: size.width,
    encoder_layers: size.layers,
    decoder_layers: size.decoderLayers ?? size.layers,
    encoder_attention_heads: size.heads,
    decoder_attention_heads: size.heads,
    encoder_ffn_dim: 4 * size.width,
    decoder_ffn_dim: 4 * size.width,
    num_mel_bins: size.mels ?? 80,
    vocab_size: vocabulary,
    decoder_start_token_id: 50258,
    eos_token_id: 50257,
  };
  const generation = {
    no_timestamps_token_id: vocabulary - 1502,
    lang_to_id: { '<|en|>': 50259 },
    task_to_id: { transcribe: vocabulary - 1506, translate: vocabulary - 1507 },
    is_multilingual: true,
    max_length: 448,
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(json));
  writeFileSync(join(folder, 'generation_config.json'), JSON.stringify(generation));

  const header: Record<string, unknown> = {};
  const tensors = checkpointTensors(parseConfig(json, 'config.json'));
  let offset = 0;
  for (const { name: tensor, shape } of tensors) {
    const bytes = 2 * shape.reduce((product, count) => product * count, 1);
    header[`model.${tensor}`] = { dtype: 'BF16', shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const text = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(text.length));
  const file = openSync(join(folder, 'model.safetensors'), 'w');
  writeSync(file, prefix);
  writeSync(file, text);
  let state = 1;
  for (const { name: tensor, shape } of tensors) {
    const count = shape.reduce((product, n) => product * n, 1);
    const values = new Float32Array(count);
    const norm = /layer_norm/.test(tensor);
    for (let i = 0; i < count; ++i) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      values[i] = norm && tensor.endsWith('weight') ? 1 : (state / 2 ** 32 - 0.5) * 0.07;
    }
    const words = new Uint16Array(values.buffer);
    const halves = Uint16Array.from({ length: count }, (_, i) => words[2 * i + 1]); // the high half of a float32 is a bfloat16
    writeSync(file, Buffer.from(halves.buffer));
  }
  closeSync(file);
  return folder;
}
