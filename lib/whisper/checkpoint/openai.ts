/**
 * Reads openai/whisper's .pt files, and the ggml files that whisper.cpp makes from them. The tensors of both have the
 * same names.
 */
import { basename, dirname } from 'node:path';
import { OneheadError } from '../../errors.js';
import type { BinaryFile } from '../files/bytes.js';
import { readGgml, type Sizes } from '../files/ggml.js';
import type { TensorEntry, TensorIndex } from '../files/tensors.js';
import type { TorchFile } from '../files/torch.js';
import { textOf } from './byte-pairs.js';
import type { SpecialTokens } from './config.js';
import {
  alignmentHeadsOf,
  configJson,
  type Description,
  type Dimensions,
  generationJson,
  preprocessorJson,
} from './description.js';
import { languageNames } from './languages.js';
import { readTokenizerFiles, specialTokens, tokensOf } from './tokenizer-files.js';
import {
  specialTokensBehind,
  stockTokens,
  stockVocabulary,
  suppressedTokens,
  tokenizerOf,
  type Vocabulary,
  vocabularyOf,
} from './vocabulary.js';

/** Parts of openai/whisper's tensor names and their replacements in transformers' names, applied in this order. */
const renamed: [RegExp, string][] = [
  [/^(encoder|decoder)\.positional_embedding$/, '$1.embed_positions.weight'],
  [/^decoder\.token_embedding\./, 'decoder.embed_tokens.'],
  [/^encoder\.ln_post\./, 'encoder.layer_norm.'],
  [/^decoder\.ln\./, 'decoder.layer_norm.'],
  [/\.blocks\./, '.layers.'],
  [/\.cross_attn_ln\./, '.encoder_attn_layer_norm.'],
  [/\.attn_ln\./, '.self_attn_layer_norm.'],
  [/\.mlp_ln\./, '.final_layer_norm.'],
  [/\.cross_attn\./, '.encoder_attn.'],
  [/\.attn\./, '.self_attn.'],
  [/\.query\./, '.q_proj.'],
  [/\.key\./, '.k_proj.'],
  [/\.value\./, '.v_proj.'],
  [/\.out\./, '.out_proj.'],
  [/\.mlp\.0\./, '.fc1.'],
  [/\.mlp\.2\./, '.fc2.'],
];

/** ggml files store the convolutions' biases as columns. */
function columnToVector(entry: TensorEntry): TensorEntry {
  const { shape } = entry;
  return shape.length === 2 && shape[1] === 1 ? { ...entry, shape: [shape[0]] } : entry;
}

function renameAll(tensors: TensorIndex): TensorIndex {
  return new Map(
    [...tensors].map(([name, entry]): [string, TensorEntry] => {
      const newName = renamed.reduce((text, [from, to]) => text.replace(from, to), name);
      return [newName, newName.endsWith('.bias') ? columnToVector(entry) : entry];
    }),
  );
}

const feedForward = (tensors: TensorIndex, side: string, width: number): number =>
  tensors.get(`${side}.layers.0.fc1.weight`)?.shape[0] ?? 4 * width;

function dimensionsOf(sizes: Sizes, tensors: TensorIndex, file: BinaryFile): Dimensions {
  const { audioWidth, textWidth, ...rest } = sizes;
  if (audioWidth !== textWidth) file.refuse(`its encoder has width ${audioWidth} but its decoder ${textWidth}`);
  return {
    ...rest,
    width: textWidth,
    audioFeedForward: feedForward(tensors, 'encoder', textWidth),
    textFeedForward: feedForward(tensors, 'decoder', textWidth),
  };
}

/** Computes the number of languages from the size of the vocabulary and the number of text tokens. */
function countLanguages({ vocabulary, audioContext }: Dimensions, text: number, file: BinaryFile): number {
  // The other special tokens are eight named ones, and a timestamp for each audio position and for the end.
  const languages = vocabulary - text - 8 - (audioContext + 1);
  if (languages < 0 || languages > languageNames.size) {
    file.refuse(
      `its vocabulary of ${vocabulary} tokens has ${text} text tokens, so the others cannot be Whisper's special tokens`,
    );
  }
  return languages;
}

interface Parts {
  file: BinaryFile;
  dimensions: Dimensions;
  tensors: TensorIndex;
  vocabulary: Vocabulary;
  special: SpecialTokens;
}

function describe({ file: { path: file }, dimensions, tensors, vocabulary, special }: Parts): Description {
  const space = vocabulary.tokens.indexOf(textOf(Buffer.from(' ')));
  return {
    file,
    config: configJson(dimensions, special),
    generation: generationJson(dimensions, special, {
      alignment_heads: alignmentHeadsOf(dimensions, basename(file)),
      suppress_tokens: suppressedTokens(vocabulary, special),
      begin_suppress_tokens: [space, special.get('<|endoftext|>')].filter((id) => id !== undefined && id >= 0),
    }),
    preprocessor: preprocessorJson(dimensions),
    tensors,
    tokenizer: async () => tokenizerOf(vocabulary, special, file),
  };
}

/** Describes a ggml file. Throws OneheadError MODEL_INVALID. */
export async function describeGgml(file: BinaryFile): Promise<Description> {
  const { tokens: bytes, tensors: stored, filters, ...sizes } = await readGgml(file);
  const tensors = renameAll(stored);
  const dimensions = dimensionsOf(sizes, tensors, file);
  if (filters.shape[0] !== dimensions.mels) {
    file.refuse(`its filters have ${filters.shape[0]} mels but its model ${dimensions.mels}`);
  }
  const all = bytes.map(textOf);
  // Files that were converted from a Hugging Face folder may list the special tokens too.
  const end = all.indexOf('<|endoftext|>');
  const vocabulary = await vocabularyOf(end < 0 ? all : all.slice(0, end));
  const text = vocabulary.tokens.length;
  const special = specialTokensBehind(text, countLanguages(dimensions, text, file), dimensions.audioContext + 1);
  return describe({ file, dimensions, tensors, vocabulary, special });
}

const dimensionNames: Record<keyof Sizes, string> = {
  mels: 'n_mels',
  vocabulary: 'n_vocab',
  audioContext: 'n_audio_ctx',
  audioWidth: 'n_audio_state',
  audioHeads: 'n_audio_head',
  audioLayers: 'n_audio_layer',
  textContext: 'n_text_ctx',
  textWidth: 'n_text_state',
  textHeads: 'n_text_head',
  textLayers: 'n_text_layer',
};

/** True for the contents of openai/whisper's files, which are sizes and tensors. */
export function isOpenai(value: unknown): value is Map<string, Map<string, unknown>> {
  return value instanceof Map && value.get('dims') instanceof Map && value.get('model_state_dict') instanceof Map;
}

/** Describes a .pt file; `value` is its contents. Throws OneheadError MODEL_INVALID. */
export async function describeOpenai(
  file: BinaryFile,
  value: Map<string, Map<string, unknown>>,
  torch: TorchFile,
): Promise<Description> {
  const dims = value.get('dims')!;
  const size = (name: string): number => {
    const found = dims.get(name);
    if (!Number.isSafeInteger(found) || (found as number) < 1 || (found as number) > 1 << 20) {
      file.refuse(`its ${name} is ${typeof found === 'number' ? found : 'not a number'}`);
    }
    return found as number;
  };
  const sizes = Object.fromEntries(
    Object.entries(dimensionNames).map(([ours, theirs]) => [ours, size(theirs)]),
  ) as unknown as Sizes;
  const tensors = renameAll(await torch.tensorIndex(value.get('model_state_dict')!));
  const dimensions = dimensionsOf(sizes, tensors, file);
  const { audioContext, vocabulary: tokens } = dimensions;
  for (const stock of ['multilingual', 'english'] as const) {
    const languages = tokens - stockTokens[stock] - 8 - (audioContext + 1);
    if (![99, 100].includes(languages) || (stock === 'english' && languages !== 99)) continue;
    const special = specialTokensBehind(stockTokens[stock], languages, audioContext + 1);
    return describe({ file, dimensions, tensors, vocabulary: await stockVocabulary(stock), special });
  }
  // The file has no tokens, so a vocabulary other than OpenAI's must be in its folder.
  const files = await readTokenizerFiles(dirname(file.path));
  if (!files) {
    throw new OneheadError(
      'MODEL_INVALID',
      `${file.path} is a model for openai/whisper with a custom vocabulary (${tokens} tokens), which the file does not ` +
        'contain; put its tokenizer.json beside it.',
    );
  }
  const special = specialTokens(files);
  const text = special.get('<|endoftext|>') ?? 0;
  if (text > tokens) {
    throw new OneheadError(
      'MODEL_INVALID',
      `${files.file} has more tokens than ${file.path}; the two do not belong together.`,
    );
  }
  const known: string[] = [];
  for (const [token, id] of tokensOf(files)) if (id >= 0 && id < text) known[id] = token;
  const vocabulary = { tokens: Array.from(known, (token) => token ?? '') };
  return { ...describe({ file, dimensions, tensors, vocabulary, special }), tokenizer: async () => files };
}
