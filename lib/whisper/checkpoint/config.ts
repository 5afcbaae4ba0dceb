/** Reads and checks a Whisper checkpoint's config.json, generation_config.json and preprocessor_config.json. */
import { OneheadError } from '../../errors.js';
import { Fields } from './fields.js';
import { languageCode } from './languages.js';

/** Seconds between two timestamp tokens. */
export const timestampSeconds = 0.02;

/** The sizes of the encoder or the decoder. */
export interface StackConfig {
  layers: number;
  /** Query heads. */
  heads: number;
  /** Width of the feed-forward layers' hidden activations. */
  feedForward: number;
}

export interface WhisperConfig {
  /** Width of the activations between layers (d_model). */
  width: number;
  encoder: StackConfig & { keyValueHeads: number };
  /** Key/value heads: `keyValueHeads` of self-attention, `crossKeyValueHeads` of cross-attention. */
  decoder: StackConfig & { keyValueHeads: number; crossKeyValueHeads: number };
  mels: number;
  /** Encoder positions of a window: half its frames. */
  sourcePositions: number;
  /** Decoder positions: the maximum number of tokens, including the prompt. */
  targetPositions: number;
  vocabulary: number;
  /** True if the output projection is the token embedding. */
  tiedEmbeddings: boolean;
  /** Width of the median filter of word times, in audio positions. */
  medianFilterWidth: number;
  startToken: number;
  endToken: number;
  suppressTokens: number[];
  beginSuppressTokens: number[];
  /** The prompt in old checkpoints: pairs of [position, token]. */
  forcedDecoderIds: [number, number | null][];
}

/**
 * Reads config.json. scale_embedding is ignored, as in transformers' Whisper decoder. Throws OneheadError
 * MODEL_INVALID; the message names the file `where`.
 */
export function parseConfig(json: unknown, where: string): WhisperConfig {
  const fields = new Fields(json, where);
  const type = fields.text('model_type', 'whisper');
  if (type !== 'whisper') fields.refuse('model_type', "'whisper'", type);
  const activation = fields.text('activation_function', 'gelu');
  if (activation !== 'gelu') fields.refuse('activation_function', "'gelu'", activation);
  const width = fields.count('d_model', 1 << 16);
  const heads = (name: string): number => {
    const count = fields.count(name, 1024);
    if (width % count) fields.refuse(name, `a divisor of d_model (${width})`, count);
    return count;
  };
  const keyValueHeads = (name: string, queryHeads: number): number => {
    const count = fields.count(name, 1024, queryHeads);
    if (queryHeads % count) fields.refuse(name, `a divisor of the ${queryHeads} heads`, count);
    return count;
  };
  const encoderHeads = heads('encoder_attention_heads');
  const decoderHeads = heads('decoder_attention_heads');
  const vocabulary = fields.count('vocab_size', 1 << 24);
  return {
    width,
    encoder: {
      layers: fields.count('encoder_layers', 1024),
      heads: encoderHeads,
      feedForward: fields.count('encoder_ffn_dim', 1 << 20),
      keyValueHeads: keyValueHeads('encoder_key_value_heads', encoderHeads),
    },
    decoder: {
      layers: fields.count('decoder_layers', 1024),
      heads: decoderHeads,
      feedForward: fields.count('decoder_ffn_dim', 1 << 20),
      keyValueHeads: keyValueHeads('decoder_key_value_heads', decoderHeads),
      crossKeyValueHeads: keyValueHeads('cross_key_value_heads', decoderHeads),
    },
    mels: fields.count('num_mel_bins', 1024, 80),
    sourcePositions: fields.count('max_source_positions', 1 << 20, 1500),
    targetPositions: positions(fields),
    vocabulary,
    medianFilterWidth: oddWidth(fields),
    tiedEmbeddings: fields.flag('tie_word_embeddings', true),
    startToken: fields.token('decoder_start_token_id', vocabulary, 50257),
    endToken: fields.token('eos_token_id', vocabulary, 50256),
    suppressTokens: fields.tokens('suppress_tokens', vocabulary),
    beginSuppressTokens: fields.tokens('begin_suppress_tokens', vocabulary),
    forcedDecoderIds: fields.pairs('forced_decoder_ids', vocabulary),
  };
}

/** At least 8, since the prompt has four tokens. */
function positions(fields: Fields): number {
  const count = fields.count('max_target_positions', 1 << 20, 448);
  return count >= 8 ? count : fields.refuse('max_target_positions', 'at least 8', count);
}

function oddWidth(fields: Fields): number {
  const width = fields.count('median_filter_width', 31, 7);
  return width % 2 ? width : fields.refuse('median_filter_width', 'an odd number', width);
}

/** Settings of decoding, from generation_config.json. */
export interface GenerationConfig {
  startToken: number;
  endToken: number;
  noTimestampsToken: number | null;
  /** The id of the first timestamp token, which stands for 0 s; the size of the vocabulary if there is none. */
  timestampBegin: number;
  /**
   * The id after the last timestamp token, which stands for the end of the window. Tokens that were added to the
   * vocabulary have ids from here on.
   */
  timestampEnd: number;
  noSpeechToken: number | null;
  previousToken: number | null;
  multilingual: boolean;
  /** Language codes, such as 'en', and their tokens. */
  languages: Map<string, number>;
  tasks: Map<string, number>;
  suppressTokens: number[];
  beginSuppressTokens: number[];
  forcedDecoderIds: [number, number | null][];
  /** The checkpoint's default language (a code; null to detect it) and task. */
  defaults: { language: string | null; task: Task | null };
  /** Defaults from the forced tokens of an old checkpoint, used if neither the call nor `defaults` sets any. */
  forced: { language: string | null; task: Task | null };
  /** The maximum first timestamp, in steps of 20 ms, or null for any. */
  maxInitialTimestamp: number | null;
  /** The maximum number of tokens of a window, including the prompt. */
  maxLength: number;
  /** [layer, head] of the cross-attention heads from which word times are computed. */
  alignmentHeads: [number, number][];
  /** The warning for calls with word times if the checkpoint's alignment heads are invalid; otherwise null. */
  alignmentWarning: string | null;
}

/** 'transcribe' writes the spoken language, 'translate' English. */
export type Task = 'transcribe' | 'translate';

/** Ids of special tokens by their text, such as '<|notimestamps|>'. */
export type SpecialTokens = ReadonlyMap<string, number>;

/**
 * The vocabulary size of OpenAI's English-only models. Their vocabulary lists all languages, but the models know only
 * English.
 */
export const englishOnlyVocabulary = 51864;

/** The tokens of languages, which Whisper's vocabularies list between <|startoftranscript|> and the tasks. */
export function languageTokens(special: SpecialTokens, startToken: number): [string, number][] {
  const tasks = ['<|translate|>', '<|transcribe|>'].map((task) => special.get(task) ?? Number.POSITIVE_INFINITY);
  const end = Math.min(...tasks);
  if (end === Number.POSITIVE_INFINITY) return [];
  return [...special].filter(([text, id]) => /^<\|[a-z]{2,3}\|>$/.test(text) && id > startToken && id < end);
}

/**
 * Reads generation_config.json (null if the file is absent). Missing fields are taken from config.json and the
 * tokenizer's special tokens. Throws OneheadError MODEL_INVALID; the message names the file `where`.
 */
export function parseGenerationConfig(
  json: unknown,
  where: string,
  config: WhisperConfig,
  special: SpecialTokens,
): GenerationConfig {
  const fields = new Fields(json ?? {}, where);
  const { vocabulary } = config;
  const named = (...names: string[]): number | null => {
    for (const name of names) {
      const id = special.get(name);
      if (id !== undefined && id < vocabulary) return id;
    }
    return null;
  };
  const noTimestampsToken = fields.token('no_timestamps_token_id', vocabulary, named('<|notimestamps|>'));
  const timestampBegin = noTimestampsToken === null ? vocabulary : noTimestampsToken + 1;
  const languages = new Map<string, number>();
  for (const [text, id] of fields.tokenMap('lang_to_id', vocabulary)) languages.set(text.replace(/^<\||\|>$/g, ''), id);
  if (languages.size === 0) {
    for (const [text, id] of languageTokens(special, config.startToken)) languages.set(text.slice(2, -2), id);
  }
  const tasks = new Map(fields.tokenMap('task_to_id', vocabulary));
  for (const task of ['transcribe', 'translate']) {
    const id = named(`<|${task}|>`);
    if (!tasks.has(task) && id !== null) tasks.set(task, id);
  }
  const stated = fields.present('is_multilingual') || fields.present('lang_to_id');
  const known = languages.size > 0 && tasks.has('transcribe') && vocabulary !== englishOnlyVocabulary;
  const multilingual = fields.flag('is_multilingual', known);
  // A vocabulary of one's own may have no English, but a file that states languages follows Whisper's.
  if (multilingual && stated && !languages.has('en')) {
    fields.refuse('lang_to_id', "Whisper's languages, including '<|en|>'", [...languages.keys()]);
  }
  const startToken = fields.token('decoder_start_token_id', vocabulary, config.startToken);
  const endToken = fields.token('eos_token_id', vocabulary, config.endToken);
  const text = [...languages, ...tasks].find(([, id]) => id < Math.min(startToken, endToken));
  if (text) fields.refuse(`the token of '${text[0]}'`, 'a special token', text[1]);
  const forcedDecoderIds = fields.present('forced_decoder_ids')
    ? fields.pairs('forced_decoder_ids', vocabulary)
    : config.forcedDecoderIds;
  const forcedOf = (table: ReadonlyMap<string, number>) =>
    [...table].find(([, id]) => forcedDecoderIds.some(([, forced]) => forced === id))?.[0] ?? null;
  return {
    startToken,
    endToken,
    noTimestampsToken,
    timestampBegin,
    timestampEnd: Math.min(vocabulary, timestampBegin + config.sourcePositions + 1),
    // In OpenAI's vocabularies <|nospeech|> (formerly <|nocaptions|>) comes just before <|notimestamps|>.
    noSpeechToken: named('<|nospeech|>', '<|nocaptions|>') ?? (noTimestampsToken ? noTimestampsToken - 1 : null),
    previousToken: fields.token('prev_sot_token_id', vocabulary, named('<|startofprev|>')),
    multilingual,
    languages,
    tasks,
    suppressTokens: fields.has('suppress_tokens')
      ? fields.tokens('suppress_tokens', vocabulary)
      : config.suppressTokens,
    beginSuppressTokens: fields.has('begin_suppress_tokens')
      ? fields.tokens('begin_suppress_tokens', vocabulary)
      : config.beginSuppressTokens,
    forcedDecoderIds,
    defaults: multilingual ? checkpointDefaults(fields, languages) : { language: null, task: null },
    forced: multilingual
      ? { language: forcedOf(languages), task: forcedOf(tasks) as Task | null }
      : { language: null, task: null },
    maxInitialTimestamp: fields.token('max_initial_timestamp_index', vocabulary, null),
    ...alignmentHeads(fields, config),
    maxLength: Math.min(fields.count('max_length', 1 << 20, config.targetPositions), config.targetPositions),
  };
}

/** The language (a token, code or English name in the file) and task for which a checkpoint was fine-tuned. */
function checkpointDefaults(fields: Fields, languages: ReadonlyMap<string, number>): GenerationConfig['defaults'] {
  const language = fields.text('language', '');
  const task = fields.text('task', '');
  const name = language.replace(/^<\||\|>$/g, '');
  const code = languages.has(name) ? name : languageCode(name);
  if (language !== '' && (code === null || !languages.has(code))) {
    fields.refuse('language', 'a language of lang_to_id', language);
  }
  if (!['', 'transcribe', 'translate'].includes(task)) fields.refuse('task', "'transcribe' or 'translate'", task);
  return { language: language === '' ? null : code, task: task === '' ? null : (task as Task) };
}

/**
 * The alignment heads that the checkpoint names. If it names none, or heads that the decoder does not have (distilled
 * models keep their teacher's list), these are all heads of the later half of the layers, as in openai/whisper.
 */
function alignmentHeads(
  fields: Fields,
  { decoder }: WhisperConfig,
): Pick<GenerationConfig, 'alignmentHeads' | 'alignmentWarning'> {
  const named = fields.pairs('alignment_heads', 1 << 20, { minimum: 0, what: '[layer, head]' });
  const unknown = named.find(([layer, head]) => layer >= decoder.layers || head === null || head >= decoder.heads);
  if (named.length > 0 && !unknown) return { alignmentHeads: named as [number, number][], alignmentWarning: null };
  const layers = Array.from({ length: decoder.layers }, (_, layer) => layer).slice(Math.floor(decoder.layers / 2));
  return {
    alignmentHeads: layers.flatMap((layer) =>
      Array.from({ length: decoder.heads }, (_, head): [number, number] => [layer, head]),
    ),
    alignmentWarning: unknown
      ? `The checkpoint names alignment heads that it does not have (${unknown.join('/')} of ${decoder.layers} layers of ` +
        `${decoder.heads} heads), so word times are computed from all heads of the later half of its layers; set ` +
        'alignmentHeads if you know better ones.'
      : null,
  };
}

export interface PreprocessorConfig {
  /** Hertz. */
  sampleRate: number;
  /** Samples between two frames. */
  hop: number;
  /** Samples of a frame's Fourier transform. */
  fftSize: number;
  mels: number;
  /** Samples of a window. */
  samples: number;
  /** Frames of a window. */
  frames: number;
}

/**
 * Reads preprocessor_config.json, or feature_extractor of processor_config.json (null if both are absent). Throws
 * OneheadError MODEL_INVALID; the message names the file `where`.
 */
export function parsePreprocessorConfig(json: unknown, where: string, config: WhisperConfig): PreprocessorConfig {
  const fields = new Fields(json ?? {}, where);
  const mels = fields.count('feature_size', 1024, config.mels);
  if (mels !== config.mels) fields.refuse('feature_size', `config.json's num_mel_bins (${config.mels})`, mels);
  const hop = fields.count('hop_length', 1 << 16, 160);
  const fftSize = fields.count('n_fft', 1 << 16, 400);
  if (fftSize % 2 || fftSize < hop) fields.refuse('n_fft', `an even number of at least hop_length (${hop})`, fftSize);
  const frames = 2 * config.sourcePositions;
  const maximumFrames = fields.count('nb_max_frames', 1 << 24, frames);
  if (maximumFrames !== frames) {
    throw new OneheadError(
      'MODEL_INVALID',
      `${where}: expected nb_max_frames to be twice config.json's max_source_positions (${frames}) but found ` +
        `${maximumFrames}; the two files do not belong together.`,
    );
  }
  const sampleRate = fields.count('sampling_rate', 768_000, 16000);
  if (sampleRate < 1000) fields.refuse('sampling_rate', 'hertz from 1000 to 768000', sampleRate);
  // All times are computed from frames of 10 ms.
  if (hop * 100 !== sampleRate) fields.refuse('hop_length', `a hundredth of sampling_rate (${sampleRate})`, hop);
  return {
    sampleRate,
    hop,
    fftSize,
    mels,
    samples: frames * hop,
    frames,
  };
}
