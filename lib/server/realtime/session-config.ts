/** The configuration of a realtime session: OpenAI's GA format and the older one, validated, with all defaults. */
import { described } from '../../checks.js';
import { shown } from '../../errors.js';
import type { LiveOptions } from '../../whisper/live/options.js';
import { ApiError } from '../service/api-error.js';
import { type AudioFormat, rateOf } from './audio.js';

export interface ServerVad {
  type: 'server_vad';
  threshold: number;
  prefix_padding_ms: number;
  silence_duration_ms: number;
}

const delays = ['minimal', 'low', 'medium', 'high', 'xhigh'] as const;
export type Delay = (typeof delays)[number];

export interface Transcription {
  model: string;
  language?: string;
  prompt?: string;
  keywords?: string[];
  delay?: Delay;
}

export interface SessionConfig {
  format: AudioFormat;
  transcription: Transcription;
  /** Null: the client ends turns. */
  turnDetection: ServerVad | null;
  /** Whether deltas and transcripts have the log-probability of each token. */
  logprobs: boolean;
}

/** The only supported value of `include`. */
const included = 'item.input_audio_transcription.logprobs';

export const usualVad: ServerVad = {
  type: 'server_vad',
  threshold: 0.5,
  prefix_padding_ms: 300,
  silence_duration_ms: 500,
};

/** The live options for each delay, in seconds. */
const delayOptions: Record<Delay, Pick<LiveOptions, 'threshold' | 'interval'>> = {
  minimal: { threshold: 0.3, interval: 0.3 },
  low: { threshold: 0.4, interval: 0.4 },
  medium: { threshold: 0.5, interval: 0.5 },
  high: { threshold: 0.8, interval: 0.5 },
  xhigh: { threshold: 1.2, interval: 1 },
};

type Fields = Record<string, unknown>;

function bad(param: string, expected: string, received: unknown): never {
  throw new ApiError(400, `Expected ${param} to be ${expected} but received ${described(received)}.`, {
    param,
    code: 'invalid_value',
  });
}

/** The fields of a request for a client secret. Throws ApiError. */
export function secretFields(body: unknown): { expiresAfter: Fields; session: unknown } {
  const { expires_after: after, session } = fieldsOf(body ?? undefined, 'body', ['expires_after', 'session']) ?? {};
  return { expiresAfter: fieldsOf(after, 'expires_after', ['anchor', 'seconds']) ?? {}, session };
}

/** An object with known fields only; undefined if it is absent. */
function fieldsOf(value: unknown, param: string, known: readonly string[]): Fields | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) bad(param, 'an object', value);
  const unknown = Object.keys(value).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    const name = shown(`${param}.${unknown}`, 120);
    throw new ApiError(400, `Unknown parameter: '${name}'.`, { param: name, code: 'unknown_parameter' });
  }
  return value as Fields;
}

function numberIn(value: unknown, param: string, low: number, high: number, usual: number): number {
  if (value === undefined || value === null) return usual;
  if (typeof value !== 'number' || !(value >= low && value <= high))
    bad(param, `a number from ${low} to ${high}`, value);
  return value;
}

function formatOf(value: unknown, param: string): AudioFormat {
  const { type, rate } = fieldsOf(value, param, ['type', 'rate']) ?? {};
  if (type === 'audio/pcmu' || type === 'audio/pcma') return { type };
  if (type !== 'audio/pcm') bad(`${param}.type`, "'audio/pcm', 'audio/pcmu' or 'audio/pcma'", type);
  if (rate !== undefined && rate !== null && rate !== 24_000) bad(`${param}.rate`, '24000', rate);
  return { type, rate: 24_000 };
}

const oldFormats: Record<string, AudioFormat> = {
  pcm16: { type: 'audio/pcm', rate: 24_000 },
  g711_ulaw: { type: 'audio/pcmu' },
  g711_alaw: { type: 'audio/pcma' },
};

/** The three numbers of turn detection; `create_response` and the like are for conversations, and ignored. */
function detectionOf(value: unknown, param: string): ServerVad | null {
  if (value === null) return null;
  const known = ['type', 'threshold', 'prefix_padding_ms', 'silence_duration_ms'];
  const others = ['create_response', 'interrupt_response', 'idle_timeout_ms', 'eagerness'];
  const given = fieldsOf(value, param, [...known, ...others]) ?? {};
  if (given.type !== undefined && given.type !== 'server_vad') {
    bad(`${param}.type`, "'server_vad', the only supported turn detection,", given.type);
  }
  const milliseconds = (name: 'prefix_padding_ms' | 'silence_duration_ms') =>
    numberIn(given[name], `${param}.${name}`, 0, 10_000, usualVad[name]);
  return {
    type: 'server_vad',
    threshold: numberIn(given.threshold, `${param}.threshold`, 0, 1, usualVad.threshold),
    prefix_padding_ms: milliseconds('prefix_padding_ms'),
    silence_duration_ms: milliseconds('silence_duration_ms'),
  };
}

/** The path of the language in a session event. */
export const languageField = 'session.audio.input.transcription.language';

function transcriptionOf(value: unknown, param: string, before: Transcription): Transcription {
  const known = ['model', 'language', 'languages', 'prompt', 'keywords', 'delay'];
  const given = fieldsOf(value, param, known) ?? {};
  const text = (name: string): string | undefined => {
    const one = given[name];
    if (one === undefined || one === null || one === '') return undefined;
    if (typeof one !== 'string') bad(`${param}.${name}`, 'a text', one);
    return one;
  };
  const texts = (name: string): string[] | undefined => {
    const all = given[name];
    if (all === undefined || all === null) return undefined;
    if (!Array.isArray(all) || !all.every((one) => typeof one === 'string'))
      bad(`${param}.${name}`, 'a list of texts', all);
    return all;
  };
  const languages = texts('languages');
  if (languages && languages.length > 1) bad(`${param}.languages`, 'a list of one language', languages);
  const delay = text('delay');
  if (delay !== undefined && !delays.includes(delay as Delay)) bad(`${param}.delay`, delays.join(', '), delay);
  const language = text('language') ?? languages?.[0];
  const [prompt, keywords] = [text('prompt'), texts('keywords')];
  return {
    model: text('model') ?? before.model,
    ...(language !== undefined && { language }),
    ...(prompt !== undefined && { prompt }),
    ...(keywords !== undefined && { keywords }),
    ...(delay !== undefined && { delay: delay as Delay }),
  };
}

/** Whether log-probabilities are requested; keeps the previous value if absent. */
function logprobsOf(value: unknown, param: string, before: boolean): boolean {
  if (value === undefined) return before;
  if (value === null) return false;
  if (!Array.isArray(value)) bad(param, 'a list', value);
  const wrong = value.find((one) => one !== included);
  if (wrong !== undefined) bad(param, `a list of '${included}' or nothing`, wrong);
  return value.length > 0;
}

/** Applies an update to a session. Throws ApiError that names the field. */
export function updated(before: SessionConfig, given: unknown): SessionConfig {
  const session =
    fieldsOf(given, 'session', ['type', 'audio', 'include', 'object', 'id', 'expires_at', 'tracing']) ?? {};
  if (session.type !== undefined && session.type !== 'transcription') {
    bad('session.type', "'transcription', since this server only transcribes,", session.type);
  }
  const { input: value } = fieldsOf(session.audio, 'session.audio', ['input']) ?? {};
  const param = 'session.audio.input';
  const input = fieldsOf(value, param, ['format', 'noise_reduction', 'transcription', 'turn_detection']) ?? {};
  const { format, transcription, turn_detection: detection } = input;
  return {
    format: format === undefined ? before.format : formatOf(format, `${param}.format`),
    transcription:
      transcription === undefined || transcription === null
        ? before.transcription
        : transcriptionOf(transcription, `${param}.transcription`, before.transcription),
    turnDetection: detection === undefined ? before.turnDetection : detectionOf(detection, `${param}.turn_detection`),
    logprobs: logprobsOf(session.include, 'session.include', before.logprobs),
  };
}

/** The same for the older format, `transcription_session.update`. */
export function updatedOld(before: SessionConfig, given: unknown): SessionConfig {
  const known = [
    'input_audio_format',
    'input_audio_transcription',
    'input_audio_noise_reduction',
    'turn_detection',
    'include',
    'modalities',
    'client_secret',
  ];
  const session = fieldsOf(given, 'session', known) ?? {};
  const { input_audio_format: format, input_audio_transcription: transcription, turn_detection: detection } = session;
  if (format !== undefined && !Object.hasOwn(oldFormats, String(format))) {
    bad('session.input_audio_format', "'pcm16', 'g711_ulaw' or 'g711_alaw'", format);
  }
  return {
    format: format === undefined ? before.format : oldFormats[String(format)],
    transcription:
      transcription === undefined || transcription === null
        ? before.transcription
        : transcriptionOf(transcription, 'session.input_audio_transcription', before.transcription),
    turnDetection: detection === undefined ? before.turnDetection : detectionOf(detection, 'session.turn_detection'),
    logprobs: logprobsOf(session.include, 'session.include', before.logprobs),
  };
}

/** The session as reported to clients. Unsupported features, such as noise reduction, are null. */
export function describeSession(
  { format, transcription, turnDetection, logprobs }: SessionConfig,
  id: string,
  expiresAt: number,
) {
  return {
    id,
    object: 'realtime.transcription_session',
    type: 'transcription',
    audio: { input: { format, noise_reduction: null, transcription, turn_detection: turnDetection } },
    include: logprobs ? [included] : null,
    expires_at: expiresAt,
  };
}

export function toldOld(
  { format, transcription, turnDetection, logprobs }: SessionConfig,
  id: string,
  expiresAt: number,
) {
  const name = Object.keys(oldFormats).find((one) => oldFormats[one].type === format.type);
  return {
    id,
    object: 'realtime.transcription_session',
    input_audio_format: name,
    input_audio_transcription: transcription,
    input_audio_noise_reduction: null,
    turn_detection: turnDetection,
    include: logprobs ? [included] : null,
    expires_at: expiresAt,
  };
}

/** The options of the live stream for a session. */
export function liveOptionsOf({ format, transcription, turnDetection, logprobs }: SessionConfig): LiveOptions {
  const { language, prompt, keywords = [], delay } = transcription;
  const before = [prompt ?? '', keywords.join(', ')].filter((one) => one !== '').join(' ');
  return {
    sampleRate: rateOf(format),
    partials: false,
    tokenLogProbabilities: logprobs,
    ...(language !== undefined && { language }),
    ...(before !== '' && { prompt: before }),
    ...(delay !== undefined && delayOptions[delay]),
    vad:
      turnDetection === null
        ? false
        : {
            threshold: turnDetection.threshold,
            padding: turnDetection.prefix_padding_ms / 1000,
            minSilence: turnDetection.silence_duration_ms / 1000,
          },
  };
}
