/**
 * Reads CTranslate2's Whisper folders, which faster-whisper uses: model.bin, a vocabulary, and often config.json and
 * tokenizer.json.
 */
import { basename, join } from 'node:path';
import { OneheadError } from '../../errors.js';
import type { BinaryFile } from '../files/bytes.js';
import { type CTranslate2File, readCTranslate2 } from '../files/ctranslate2.js';
import { isPlain, type TensorEntry, type TensorIndex } from '../files/tensors.js';
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
import { readJson, readText } from './json.js';
import { readTokenizerFiles, specialTokens } from './tokenizer-files.js';
import { suppressedTokens, tokenizerOf, vocabularyOf } from './vocabulary.js';

type Scales = NonNullable<TensorEntry['scales']>;

/** Returns the scales of a variable's rows from `row` on. */
function scalesFrom(scales: Scales, { shape }: TensorEntry, row: number): Scales {
  const perRow = shape.slice(1).reduce((a, b) => a * b, 1);
  if (scales.each !== perRow) return scales; // one scale for all rows
  return { ...scales, offset: scales.offset + row * (scales.dtype === 'float32' ? 4 : 2) };
}

/** Makes tensors with transformers' names from CTranslate2's variables. */
class Tensors {
  readonly index: TensorIndex = new Map();
  readonly #file: BinaryFile;
  readonly #variables: ReadonlyMap<string, TensorEntry>;

  constructor(file: BinaryFile, { variables }: CTranslate2File) {
    this.#file = file;
    this.#variables = variables;
  }

  /** Returns a variable with its scales if it is quantized. It must have this number of dimensions. */
  variable(name: string, dimensions: number): TensorEntry {
    const entry = this.#variables.get(name);
    if (!entry) this.#file.refuse(`it has no variable '${name}'`);
    const { shape, dtype, bytes } = entry;
    if (shape.length !== dimensions || shape.includes(0)) {
      this.#file.refuse(`its variable '${name}' has the shape [${shape}]`);
    }
    if (isPlain(dtype)) return entry;
    const scale = this.#variables.get(`${name}_scale`);
    const elements = shape.reduce((a, b) => a * b, 1);
    // One scale for each row, or one for all.
    const count = scale ? scale.shape.reduce((a, b) => a * b, 1) : 0;
    if (!scale || !isPlain(scale.dtype) || (count !== shape[0] && count !== 1)) {
      this.#file.refuse(`its variable '${name}' (${dtype}, ${bytes} bytes) has no valid scales`);
    }
    return { ...entry, scales: { offset: scale.offset, dtype: scale.dtype, each: elements / count } };
  }

  put(name: string, variable: string, dimensions: number): void {
    this.index.set(name, this.variable(variable, dimensions));
  }

  norm(name: string, variable: string): void {
    this.put(`${name}.weight`, `${variable}/gamma`, 1);
    this.put(`${name}.bias`, `${variable}/beta`, 1);
  }

  /**
   * Divides the rows of a fused product among `names`. Biases of keys are dropped, as in transformers: the same bias
   * for all keys does not change the softmax.
   */
  linear(names: string[], variable: string): void {
    for (const part of ['weight', 'bias'] as const) {
      const fused = this.variable(`${variable}/${part}`, part === 'weight' ? 2 : 1);
      const rows = fused.shape[0] / names.length;
      if (!Number.isInteger(rows)) {
        this.#file.refuse(`its variable '${variable}/${part}' has ${fused.shape[0]} rows for ${names.length} products`);
      }
      const bytes = fused.bytes / names.length;
      for (const [index, name] of names.entries()) {
        if (part === 'bias' && name.endsWith('.k_proj')) continue;
        this.index.set(`${name}.${part}`, {
          ...fused,
          offset: fused.offset + index * bytes,
          bytes,
          shape: [rows, ...fused.shape.slice(1)],
          ...(fused.scales && { scales: scalesFrom(fused.scales, fused, index * rows) }),
        });
      }
    }
  }

  /** Returns the number of layers of `side`, 'encoder' or 'decoder'. */
  layers(side: string): number {
    let count = 0;
    while (this.#variables.has(`${side}/layer_${count}/ffn/linear_0/weight`)) ++count;
    if (count === 0) this.#file.refuse(`it has no layers of the ${side}`);
    return count;
  }
}

function attention(tensors: Tensors, name: string, variable: string, fused: boolean): void {
  const projection = (part: string) => `${name}.${part}_proj`;
  if (fused) {
    tensors.linear([projection('q'), projection('k'), projection('v')], `${variable}/linear_0`);
  } else {
    tensors.linear([projection('q')], `${variable}/linear_0`);
    tensors.linear([projection('k'), projection('v')], `${variable}/linear_1`);
  }
  tensors.linear([projection('out')], `${variable}/linear_${fused ? 1 : 2}`);
  tensors.norm(`${name}_layer_norm`, `${variable}/layer_norm`);
}

function readTensors(file: BinaryFile, contents: CTranslate2File): { index: TensorIndex; dimensions: Dimensions } {
  const tensors = new Tensors(file, contents);
  const counts = { encoder: tensors.layers('encoder'), decoder: tensors.layers('decoder') };
  for (const side of ['encoder', 'decoder'] as const) {
    for (let layer = 0; layer < counts[side]; ++layer) {
      const [name, variable] = [`${side}.layers.${layer}`, `${side}/layer_${layer}`];
      attention(tensors, `${name}.self_attn`, `${variable}/self_attention`, true);
      if (side === 'decoder') attention(tensors, `${name}.encoder_attn`, `${variable}/attention`, false);
      tensors.linear([`${name}.fc1`], `${variable}/ffn/linear_0`);
      tensors.linear([`${name}.fc2`], `${variable}/ffn/linear_1`);
      tensors.norm(`${name}.final_layer_norm`, `${variable}/ffn/layer_norm`);
    }
    tensors.norm(`${side}.layer_norm`, `${side}/layer_norm`);
    tensors.put(`${side}.embed_positions.weight`, `${side}/position_encodings/encodings`, 2);
  }
  for (const convolution of ['conv1', 'conv2']) {
    tensors.put(`encoder.${convolution}.weight`, `encoder/${convolution}/weight`, 3);
    tensors.put(`encoder.${convolution}.bias`, `encoder/${convolution}/bias`, 1);
  }
  tensors.put('decoder.embed_tokens.weight', 'decoder/embeddings/weight', 2);
  const { index } = tensors;
  const shape = (name: string) => index.get(name)!.shape;
  const [vocabulary, width] = shape('decoder.embed_tokens.weight');
  // Old conversions do not store the number of heads. The head size of OpenAI's models is 64.
  const heads = (side: string) => contents.settings.get(`${side}/num_heads`) ?? width / 64;
  return {
    index,
    dimensions: {
      vocabulary,
      width,
      mels: shape('encoder.conv1.weight')[1],
      audioContext: shape('encoder.embed_positions.weight')[0],
      audioHeads: heads('encoder'),
      audioLayers: counts.encoder,
      audioFeedForward: shape('encoder.layers.0.fc1.weight')[0],
      textContext: shape('decoder.embed_positions.weight')[0],
      textHeads: heads('decoder'),
      textLayers: counts.decoder,
      textFeedForward: shape('decoder.layers.0.fc1.weight')[0],
    },
  };
}

/** Returns all tokens in the order of their ids, from vocabulary.json or, in old conversions, vocabulary.txt. */
async function readVocabulary(directory: string): Promise<string[] | null> {
  const file = join(directory, 'vocabulary.json');
  const list = await readJson(file);
  if (list !== null) {
    if (!Array.isArray(list) || !list.every((token) => typeof token === 'string')) {
      throw new OneheadError('MODEL_INVALID', `${file} is not a list of tokens; download it again.`);
    }
    return list;
  }
  const text = await readText(join(directory, 'vocabulary.txt'));
  return text === null ? null : text.replace(/\r?\n$/, '').split(/\r?\n/);
}

/** Describes the checkpoint of an opened model.bin and its folder. Throws OneheadError MODEL_INVALID. */
export async function describeCTranslate2(file: BinaryFile, directory: string): Promise<Description> {
  const { index, dimensions } = readTensors(file, await readCTranslate2(file));
  const files = await readTokenizerFiles(directory);
  const list = await readVocabulary(directory);
  if (!files && !list) {
    throw new OneheadError(
      'MODEL_INVALID',
      `${directory} contains neither tokenizer.json nor vocabulary.json; copy one of them from the model that this one ` +
        'was converted from.',
    );
  }
  const named = (list ?? []).flatMap((token, id): [string, number][] =>
    /^<\|.*\|>$/.test(token) ? [[token, id]] : [],
  );
  const special: SpecialTokens = files ? specialTokens(files) : new Map(named);
  const end = special.get('<|endoftext|>');
  if (end === undefined || special.get('<|startoftranscript|>') === undefined) {
    throw new OneheadError(
      'MODEL_INVALID',
      `The vocabulary of ${directory} lacks Whisper's special tokens <|endoftext|> and <|startoftranscript|>; copy it ` +
        'from the model that this one was converted from.',
    );
  }
  const settings = ((await readJson(join(directory, 'config.json'))) ?? {}) as Record<string, unknown>;
  const vocabulary = list ? await vocabularyOf(list.slice(0, end)) : null;
  const space = textOf(Buffer.from(' '));
  const begin = vocabulary && [vocabulary.tokens.indexOf(space), end].filter((id) => id >= 0);
  // A field that is null means that nothing is suppressed, so it does not get the default.
  const setting = (name: string, defaultValue: () => unknown) =>
    Object.hasOwn(settings, name) ? settings[name] : defaultValue();
  return {
    file: join(directory, 'config.json'),
    config: configJson(dimensions, special),
    generation: generationJson(dimensions, special, {
      alignment_heads: settings.alignment_heads ?? alignmentHeadsOf(dimensions, basename(directory)),
      suppress_tokens: setting('suppress_ids', () => (vocabulary ? suppressedTokens(vocabulary, special) : [])),
      begin_suppress_tokens: setting('suppress_ids_begin', () => begin ?? []),
    }),
    preprocessor: preprocessorJson(dimensions),
    tensors: index,
    tokenizer: async () => files ?? tokenizerOf(vocabulary!, new Map(named), join(directory, 'vocabulary.json')),
  };
}
