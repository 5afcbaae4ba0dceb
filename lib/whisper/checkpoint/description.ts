/** Descriptions of checkpoints in other forms, in terms of Hugging Face's files. */
import type { TensorIndex } from '../files/tensors.js';
import { englishOnlyVocabulary, languageTokens, type SpecialTokens } from './config.js';
import type { TokenizerFiles } from './tokenizer-files.js';

/** The form of a checkpoint's weights. */
export type CheckpointFormat = 'safetensors' | 'pytorch' | 'openai' | 'ctranslate2' | 'ggml';

/** The forms' names in messages. */
export const formatNames: Record<CheckpointFormat, string> = {
  safetensors: 'safetensors',
  pytorch: 'pytorch_model.bin',
  openai: "openai/whisper's .pt",
  ctranslate2: 'CTranslate2',
  ggml: 'ggml',
};

export interface Description {
  /** The contents of config.json, generation_config.json and preprocessor_config.json. */
  config: Record<string, unknown>;
  generation: Record<string, unknown>;
  preprocessor: Record<string, unknown>;
  /** Tensors by transformers' names, without the leading `model.`. */
  tensors: TensorIndex;
  /** The file, for messages. */
  file: string;
  tokenizer(): Promise<TokenizerFiles>;
}

/** A model's sizes, in the terms of openai/whisper: `audio` is the encoder, `text` the decoder, `context` positions. */
export interface Dimensions {
  vocabulary: number;
  width: number;
  mels: number;
  audioContext: number;
  audioHeads: number;
  audioLayers: number;
  audioFeedForward: number;
  textContext: number;
  textHeads: number;
  textLayers: number;
  textFeedForward: number;
}

/** The alignment heads of OpenAI's models, as listed in openai/whisper: layer/head. */
const officialHeads: { vocabulary: number; width: number; layers: number; name?: RegExp; heads: string }[] = [
  { vocabulary: 51864, width: 384, layers: 4, heads: '1/0 2/0 2/5 3/0 3/1 3/2 3/3 3/4' },
  { vocabulary: 51865, width: 384, layers: 4, heads: '2/2 3/0 3/2 3/3 3/4 3/5' },
  { vocabulary: 51864, width: 512, layers: 6, heads: '3/3 4/7 5/1 5/5 5/7' },
  { vocabulary: 51865, width: 512, layers: 6, heads: '3/1 4/2 4/3 4/7 5/1 5/2 5/4 5/6' },
  {
    vocabulary: 51864,
    width: 768,
    layers: 12,
    heads: '6/6 7/0 7/3 7/8 8/2 8/5 8/7 9/0 9/4 9/8 9/10 10/0 10/1 10/2 10/3 10/6 10/11 11/2 11/4',
  },
  { vocabulary: 51865, width: 768, layers: 12, heads: '5/3 5/9 8/0 8/4 8/7 8/8 9/0 9/7 9/9 10/5' },
  {
    vocabulary: 51864,
    width: 1024,
    layers: 24,
    heads: '11/4 14/1 14/12 14/14 15/4 16/0 16/4 16/9 17/12 17/14 18/7 18/10 18/15 20/0 20/3 20/9 20/14 21/12',
  },
  { vocabulary: 51865, width: 1024, layers: 24, heads: '13/15 15/4 15/15 16/1 20/0 23/4' },
  // large-v1 and large-v2 have the same shape. The file's name distinguishes them; otherwise v2 is assumed.
  {
    vocabulary: 51865,
    width: 1280,
    layers: 32,
    name: /large-v1/,
    heads: '9/19 11/2 11/4 11/17 22/7 22/11 22/17 23/2 23/15',
  },
  {
    vocabulary: 51865,
    width: 1280,
    layers: 32,
    heads:
      '10/12 13/17 16/11 16/12 16/13 17/15 17/16 18/4 18/11 18/19 19/11 21/2 21/3 22/3 22/9 22/12 23/5 23/7 23/13 25/5 26/1 26/12 27/15',
  },
  {
    vocabulary: 51866,
    width: 1280,
    layers: 32,
    heads: '7/0 10/17 12/18 13/12 16/1 17/14 19/11 21/4 24/1 25/6',
  },
  { vocabulary: 51866, width: 1280, layers: 4, heads: '2/4 2/11 3/3 3/6 3/11 3/14' },
];

/** Returns the alignment heads of OpenAI's model of this shape, as [layer, head]; null for any other shape. */
export function alignmentHeadsOf({ vocabulary, width, textLayers }: Dimensions, file: string): number[][] | null {
  const model = officialHeads.find(
    (entry) =>
      entry.vocabulary === vocabulary &&
      entry.width === width &&
      entry.layers === textLayers &&
      (entry.name?.test(file) ?? true),
  );
  return model ? model.heads.split(' ').map((pair) => pair.split('/').map(Number)) : null;
}

/** Returns the contents of config.json. */
export function configJson(dimensions: Dimensions, special: SpecialTokens): Record<string, unknown> {
  const end = special.get('<|endoftext|>');
  return {
    architectures: ['WhisperForConditionalGeneration'],
    model_type: 'whisper',
    activation_function: 'gelu',
    bos_token_id: end,
    d_model: dimensions.width,
    decoder_attention_heads: dimensions.textHeads,
    decoder_ffn_dim: dimensions.textFeedForward,
    decoder_layers: dimensions.textLayers,
    decoder_start_token_id: special.get('<|startoftranscript|>'),
    encoder_attention_heads: dimensions.audioHeads,
    encoder_ffn_dim: dimensions.audioFeedForward,
    encoder_layers: dimensions.audioLayers,
    eos_token_id: end,
    is_encoder_decoder: true,
    max_source_positions: dimensions.audioContext,
    max_target_positions: dimensions.textContext,
    num_hidden_layers: dimensions.audioLayers,
    num_mel_bins: dimensions.mels,
    pad_token_id: end,
    scale_embedding: false,
    tie_word_embeddings: true,
    use_cache: true,
    vocab_size: dimensions.vocabulary,
  };
}

/** Returns the contents of generation_config.json; `more` are fields from the checkpoint. */
export function generationJson(
  dimensions: Dimensions,
  special: SpecialTokens,
  more: { suppress_tokens?: unknown; begin_suppress_tokens?: unknown; alignment_heads?: unknown },
): Record<string, unknown> {
  const id = (name: string) => special.get(`<|${name}|>`) ?? null;
  const languages = languageTokens(special, id('startoftranscript') ?? 0);
  const multilingual = languages.length > 0 && dimensions.vocabulary !== englishOnlyVocabulary;
  return {
    ...(more.alignment_heads ? { alignment_heads: more.alignment_heads } : {}),
    begin_suppress_tokens: more.begin_suppress_tokens,
    bos_token_id: id('endoftext'),
    decoder_start_token_id: id('startoftranscript'),
    eos_token_id: id('endoftext'),
    is_multilingual: multilingual,
    ...(multilingual
      ? {
          lang_to_id: Object.fromEntries(languages),
          task_to_id: Object.fromEntries(
            ['transcribe', 'translate'].flatMap((task) => (id(task) === null ? [] : [[task, id(task)]])),
          ),
        }
      : {}),
    max_initial_timestamp_index: 50, // one second, as in openai/whisper
    max_length: dimensions.textContext,
    no_timestamps_token_id: id('notimestamps'),
    pad_token_id: id('endoftext'),
    prev_sot_token_id: id('startofprev'),
    return_timestamps: false,
    suppress_tokens: more.suppress_tokens,
  };
}

/** Returns the contents of preprocessor_config.json. Whisper models differ only in mels and audio context. */
export function preprocessorJson({ mels, audioContext }: Dimensions): Record<string, unknown> {
  return {
    chunk_length: audioContext / 50,
    feature_extractor_type: 'WhisperFeatureExtractor',
    feature_size: mels,
    hop_length: 160,
    n_fft: 400,
    n_samples: 320 * audioContext,
    nb_max_frames: 2 * audioContext,
    padding_side: 'right',
    padding_value: 0,
    processor_class: 'WhisperProcessor',
    return_attention_mask: false,
    sampling_rate: 16000,
  };
}
