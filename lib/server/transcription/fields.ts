/** Validates the fields of a request in OpenAI's API, and converts them to options of transcribe. */
import { shown } from '../../errors.js';
import type { TranscribeOptions } from '../../whisper/transcription/options.js';
import { type ApiError, badField, refuseField } from '../service/api-error.js';

export const responseFormats = ['json', 'text', 'srt', 'verbose_json', 'vtt'] as const;
export type ResponseFormat = (typeof responseFormats)[number];

export type Endpoint = 'transcriptions' | 'translations';

/** A checked request. */
export interface AudioRequest {
  model: string;
  /** The options that determine the text. */
  options: TranscribeOptions;
  format: ResponseFormat;
  /** Whether the response has words and segments. */
  words: boolean;
  segments: boolean;
  logprobs: boolean;
  stream: boolean;
  /** The names of unknown fields, which were ignored. */
  ignored: readonly string[];
}

/**
 * Maximum characters of the prompt, and of all keywords together. Whisper uses at most 224 of their tokens, so longer
 * texts are a mistake.
 */
const maxCharacters = 20_000;
const maxKeywords = 1000;

type Fields = ReadonlyMap<string, string[]>;

const translationFields = ['file', 'model', 'prompt', 'response_format', 'temperature'];
const transcriptionFields = [
  ...translationFields,
  ...['language', 'languages', 'keywords', 'timestamp_granularities', 'include', 'stream', 'chunking_strategy'],
  ...['known_speaker_names', 'known_speaker_references'],
];

function unknownField(name: string, known: readonly string[]): ApiError {
  return badField(
    name.slice(0, 100),
    `Unknown parameter: '${shown(name, 60)}'; the known ones are ${known.join(', ')}.`,
    'unknown_parameter',
  );
}

/** The only value of a field; null if it is absent, empty or 'null'. */
function single(fields: Fields, name: string): string | null {
  const values = fields.get(name) ?? [];
  if (values.length > 1) refuseField(name, 'one value', values);
  const [value = ''] = values;
  return value === '' || value === 'null' ? null : value;
}

function oneOf<const T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const match = allowed.find((option) => option === value);
  if (match !== undefined) return match;
  throw badField(
    name,
    `Invalid value: '${shown(value, 60)}'. Supported values of ${name} are: ${allowed.map((option) => `'${option}'`).join(', ')}.`,
  );
}

function flag(fields: Fields, name: string): boolean {
  const value = single(fields, name);
  if (value === null) return false;
  return ['true', '1'].includes(oneOf(name, value.toLowerCase(), ['true', 'false', '1', '0']));
}

function numberIn(name: string, value: unknown, min: number, max: number): number {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof number === 'number' && number >= min && number <= max) return number;
  refuseField(name, `a number from ${min} to ${max}`, value);
}

function list(fields: Fields, name: string): string[] {
  return (fields.get(name) ?? []).filter((value) => value !== '');
}

const defaultVad = { prefix_padding_ms: 300, silence_duration_ms: 200, threshold: 0.5 };

/** Parses chunking_strategy: 'auto', an object as JSON, or the object's members as separate fields. */
function chunking(fields: Fields): TranscribeOptions {
  const name = 'chunking_strategy';
  const members = [...fields].flatMap(([field, values]) => {
    const [, member] = /^chunking_strategy\[(\w+)\]$/.exec(field) ?? [];
    return member === undefined ? [] : [[member, values.at(-1)] as const];
  });
  const text = single(fields, name);
  if (text === null && members.length === 0) return {};
  if (text === 'auto' && members.length === 0) return { batched: true };
  let given: unknown = Object.fromEntries(members);
  if (text !== null) {
    try {
      given = JSON.parse(text);
    } catch {
      given = text;
    }
  }
  if (given === 'auto') return { batched: true };
  if (given === null) return {};
  if (typeof given !== 'object' || Array.isArray(given)) {
    refuseField(name, "'auto' or an object of type 'server_vad'", given);
  }
  const { type, ...rest } = given as Record<string, unknown>;
  if (type !== 'server_vad') refuseField(`${name}[type]`, "'server_vad'", type);
  const numbers: Record<string, number> = { ...defaultVad };
  for (const [member, value] of Object.entries(rest)) {
    if (value === null) continue;
    if (!Object.hasOwn(defaultVad, member)) throw unknownField(`${name}[${member}]`, Object.keys(defaultVad));
    numbers[member] = numberIn(`${name}[${member}]`, value, 0, member === 'threshold' ? 1 : 60_000);
  }
  return {
    batched: true,
    vad: {
      threshold: numbers.threshold,
      padding: numbers.prefix_padding_ms / 1000,
      minSilence: numbers.silence_duration_ms / 1000,
    },
  };
}

function promptOptions(fields: Fields): TranscribeOptions {
  const prompt = single(fields, 'prompt');
  const keywords = list(fields, 'keywords');
  for (const [name, length] of [
    ['prompt', prompt?.length ?? 0],
    ['keywords', keywords.join(', ').length],
  ] as const) {
    if (length > maxCharacters) throw badField(name, `${name} has more than ${maxCharacters} characters; shorten it.`);
  }
  if (keywords.length > maxKeywords) refuseField('keywords', `at most ${maxKeywords} texts`, keywords);
  return { ...(prompt !== null && { prompt }), ...(keywords.length > 0 && { hotwords: keywords.join(', ') }) };
}

/** Refuses speaker diarization, which is not supported, with OpenAI's error code. */
function refuseDiarization(fields: Fields, format: string | null): void {
  const speakers = ['known_speaker_names', 'known_speaker_references'].find((name) => list(fields, name).length > 0);
  if (format !== 'diarized_json' && speakers === undefined) return;
  throw badField(
    format === 'diarized_json' ? 'response_format' : speakers!,
    'This model does not distinguish speakers, so diarized_json and known speakers are not supported; leave them out.',
    'unsupported_value',
  );
}

export interface FieldRules {
  refuseUnknownFields: boolean;
  /** False while more fields may arrive. Then errors that these may resolve are not reported yet. */
  complete: boolean;
}

/** Throws ApiError 400 with the name of the invalid field. */
export function readFields(
  fields: Fields,
  endpoint: Endpoint,
  { refuseUnknownFields, complete }: FieldRules,
): AudioRequest {
  const known = endpoint === 'translations' ? translationFields : transcriptionFields;
  const isKnown = (name: string) =>
    known.includes(name) || (endpoint === 'transcriptions' && name.startsWith('chunking_strategy['));
  const ignored = [...fields.keys()].filter((name) => !isKnown(name)).map((name) => shown(name, 60));
  if (ignored.length > 0 && refuseUnknownFields)
    throw unknownField([...fields.keys()].find((name) => !isKnown(name))!, known);
  if (fields.has('file'))
    throw badField('file', "The field 'file' is text; send the recording as a file, with a file name.");
  const model = single(fields, 'model');
  if (model === null) throw badField('model', 'you must provide a model parameter', 'missing_required_parameter');
  const requestedFormat = single(fields, 'response_format');
  if (endpoint === 'transcriptions') refuseDiarization(fields, requestedFormat);
  const format = oneOf('response_format', requestedFormat ?? 'json', responseFormats);
  const temperatureText = single(fields, 'temperature');
  const temperature = temperatureText === null ? 0 : numberIn('temperature', temperatureText, 0, 1);
  const shared = {
    ...promptOptions(fields),
    // In OpenAI's API, 0 enables temperature fallback, which is the default of transcribe.
    ...(temperature > 0 && { temperature }),
  };
  if (endpoint === 'translations') {
    const options: TranscribeOptions = { ...shared, task: 'translate' };
    return { model, options, format, words: false, segments: true, logprobs: false, stream: false, ignored };
  }
  const isFinal = complete || requestedFormat !== null;
  return { model, format, ignored, ...transcriptionRequest(fields, isFinal ? format : null, shared) };
}

/** The fields that only transcriptions have. */
function transcriptionRequest(
  fields: Fields,
  /** Null if it may still arrive. */
  format: ResponseFormat | null,
  shared: TranscribeOptions,
): Omit<AudioRequest, 'model' | 'format' | 'ignored'> {
  const language = single(fields, 'language');
  const languages = list(fields, 'languages');
  if (language !== null && languages.length > 0) {
    throw badField('languages', 'Give either language or languages, not both.');
  }
  const granularities = list(fields, 'timestamp_granularities').map((value) =>
    oneOf('timestamp_granularities', value, ['word', 'segment']),
  );
  const words = granularities.includes('word');
  if (words && format !== null && format !== 'verbose_json') {
    throw badField(
      'timestamp_granularities',
      "Word timestamps need response_format 'verbose_json'; set it, or leave timestamp_granularities out.",
    );
  }
  const include = list(fields, 'include').map((value) => oneOf('include', value, ['logprobs']));
  if (include.length > 0 && format !== null && format !== 'json') {
    throw badField('include', "logprobs need response_format 'json'; set it, or leave them out.");
  }
  const stream = flag(fields, 'stream');
  if (stream && (format === 'srt' || format === 'vtt')) {
    throw badField(
      'stream',
      `A stream of events cannot have the format ${format}; set response_format to json, or stream to false.`,
    );
  }
  const options: TranscribeOptions = {
    ...shared,
    ...chunking(fields),
    task: 'transcribe',
    ...(language !== null && { language }),
    ...(languages.length > 0 && { languages }),
    ...(include.length > 0 && { tokenLogProbabilities: true }),
    ...(words && { wordTimestamps: true }),
  };
  return {
    options,
    words,
    segments: granularities.length === 0 || granularities.includes('segment'),
    logprobs: include.length > 0,
    stream,
  };
}
