/** Validates the configuration of a realtime session, in the formats of OpenAI's GA and beta interfaces. */
import { shown } from '../../errors.js';
import type { LiveOptions } from '../../whisper/live/options.js';
import { ApiError, refuseField } from '../service/api-error.js';
import { type AudioFormat, sampleRateOf } from './audio.js';

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
  /** Null if the client ends turns, by committing its audio. */
  turnDetection: ServerVad | null;
  /** Whether deltas and transcripts have the log-probability of each token. */
  logprobs: boolean;
}

/** The only supported value of `include`. */
const logprobsInclude = 'item.input_audio_transcription.logprobs';

export const defaultVad: ServerVad = {
  type: 'server_vad',
  threshold: 0.5,
  prefix_padding_ms: 300,
  silence_duration_ms: 500,
};

/** The options of live transcription for each delay, in seconds. */
const delayOptions: Record<Delay, Pick<LiveOptions, 'threshold' | 'interval'>> = {
  minimal: { threshold: 0.3, interval: 0.3 },
  low: { threshold: 0.4, interval: 0.4 },
  medium: { threshold: 0.5, interval: 0.5 },
  high: { threshold: 0.8, interval: 0.5 },
  xhigh: { threshold: 1.2, interval: 1 },
};

type Fields = Record<string, unknown>;

/** The fields of a request for a client secret. Throws ApiError. */
export function secretFields(body: unknown): { expiresAfter: Fields; session: unknown } {
  const { expires_after: after, session } = fieldsOf(body ?? undefined, 'body', ['expires_after', 'session']) ?? {};
  return { expiresAfter: fieldsOf(after, 'expires_after', ['anchor', 'seconds']) ?? {}, session };
}

/** Checks that a value is an object with known fields only; undefined if it is absent. Throws ApiError. */
function fieldsOf(value: unknown, param: string, known: readonly string[]): Fields | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuseField(param, 'an object', value);
  const unknown = Object.keys(value).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    const name = shown(`${param}.${unknown}`, 120);
    throw new ApiError(400, `Unknown parameter: '${name}'.`, { param: name, code: 'unknown_parameter' });
  }
  return value as Fields;
}

function numberIn(value: unknown, param: string, min: number, max: number, defaultValue: number): number {
  if (value === undefined || value === null) return defaultValue;
  if (typeof value !== 'number' || !(value >= min && value <= max))
    refuseField(param, `a number from ${min} to ${max}`, value);
  return value;
}

function formatOf(value: unknown, param: string): AudioFormat {
  const { type, rate } = fieldsOf(value, param, ['type', 'rate']) ?? {};
  if (type === 'audio/pcmu' || type === 'audio/pcma') return { type };
  if (type !== 'audio/pcm') refuseField(`${param}.type`, "'audio/pcm', 'audio/pcmu' or 'audio/pcma'", type);
  if (rate !== undefined && rate !== null && rate !== 24_000) refuseField(`${param}.rate`, '24000', rate);
  return { type, rate: 24_000 };
}

const betaFormats: Record<string, AudioFormat> = {
  pcm16: { type: 'audio/pcm', rate: 24_000 },
  g711_ulaw: { type: 'audio/pcmu' },
  g711_alaw: { type: 'audio/pcma' },
};

/** Turn detection. `create_response` and the like only concern conversations, and are ignored. */
function turnDetectionOf(value: unknown, param: string): ServerVad | null {
  if (value === null) return null;
  const known = ['type', 'threshold', 'prefix_padding_ms', 'silence_duration_ms'];
  const ignored = ['create_response', 'interrupt_response', 'idle_timeout_ms', 'eagerness'];
  const given = fieldsOf(value, param, [...known, ...ignored]) ?? {};
  if (given.type !== undefined && given.type !== 'server_vad') {
    refuseField(`${param}.type`, "'server_vad', the only supported turn detection,", given.type);
  }
  const milliseconds = (name: 'prefix_padding_ms' | 'silence_duration_ms') =>
    numberIn(given[name], `${param}.${name}`, 0, 10_000, defaultVad[name]);
  return {
    type: 'server_vad',
    threshold: numberIn(given.threshold, `${param}.threshold`, 0, 1, defaultVad.threshold),
    prefix_padding_ms: milliseconds('prefix_padding_ms'),
    silence_duration_ms: milliseconds('silence_duration_ms'),
  };
}

/** The path of the language in a session event, for errors. */
export const languageField = 'session.audio.input.transcription.language';

function transcriptionOf(value: unknown, param: string, previous: Transcription): Transcription {
  const known = ['model', 'language', 'languages', 'prompt', 'keywords', 'delay'];
  const given = fieldsOf(value, param, known) ?? {};
  const string = (name: string): string | undefined => {
    const field = given[name];
    if (field === undefined || field === null || field === '') return undefined;
    if (typeof field !== 'string') refuseField(`${param}.${name}`, 'a string', field);
    return field;
  };
  const strings = (name: string): string[] | undefined => {
    const field = given[name];
    if (field === undefined || field === null) return undefined;
    if (!Array.isArray(field) || !field.every((item) => typeof item === 'string'))
      refuseField(`${param}.${name}`, 'a list of strings', field);
    return field;
  };
  const languages = strings('languages');
  if (languages && languages.length > 1) refuseField(`${param}.languages`, 'a list of one language', languages);
  const delay = string('delay');
  if (delay !== undefined && !delays.includes(delay as Delay)) refuseField(`${param}.delay`, delays.join(', '), delay);
  const language = string('language') ?? languages?.[0];
  const [prompt, keywords] = [string('prompt'), strings('keywords')];
  return {
    model: string('model') ?? previous.model,
    ...(language !== undefined && { language }),
    ...(prompt !== undefined && { prompt }),
    ...(keywords !== undefined && { keywords }),
    ...(delay !== undefined && { delay: delay as Delay }),
  };
}

/** Whether log-probabilities are requested; the previous setting if the field is absent. */
function logprobsOf(value: unknown, param: string, previous: boolean): boolean {
  if (value === undefined) return previous;
  if (value === null) return false;
  if (!Array.isArray(value)) refuseField(param, 'a list', value);
  const unsupported = value.find((item) => item !== logprobsInclude);
  if (unsupported !== undefined) refuseField(param, `['${logprobsInclude}'] or an empty list`, unsupported);
  return value.length > 0;
}

/** Returns a session's configuration after `session.update`. Throws ApiError with the name of an invalid field. */
export function updateConfig(previous: SessionConfig, given: unknown): SessionConfig {
  const session =
    fieldsOf(given, 'session', ['type', 'audio', 'include', 'object', 'id', 'expires_at', 'tracing']) ?? {};
  if (session.type !== undefined && session.type !== 'transcription') {
    refuseField('session.type', "'transcription', since this server only transcribes,", session.type);
  }
  const { input: value } = fieldsOf(session.audio, 'session.audio', ['input']) ?? {};
  const param = 'session.audio.input';
  const input = fieldsOf(value, param, ['format', 'noise_reduction', 'transcription', 'turn_detection']) ?? {};
  const { format, transcription, turn_detection: detection } = input;
  return {
    format: format === undefined ? previous.format : formatOf(format, `${param}.format`),
    transcription:
      transcription === undefined || transcription === null
        ? previous.transcription
        : transcriptionOf(transcription, `${param}.transcription`, previous.transcription),
    turnDetection:
      detection === undefined ? previous.turnDetection : turnDetectionOf(detection, `${param}.turn_detection`),
    logprobs: logprobsOf(session.include, 'session.include', previous.logprobs),
  };
}

/** The same for `transcription_session.update`, the event of the beta interface. */
export function updateBetaConfig(previous: SessionConfig, given: unknown): SessionConfig {
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
  if (format !== undefined && !Object.hasOwn(betaFormats, String(format))) {
    refuseField('session.input_audio_format', "'pcm16', 'g711_ulaw' or 'g711_alaw'", format);
  }
  return {
    format: format === undefined ? previous.format : betaFormats[String(format)],
    transcription:
      transcription === undefined || transcription === null
        ? previous.transcription
        : transcriptionOf(transcription, 'session.input_audio_transcription', previous.transcription),
    turnDetection:
      detection === undefined ? previous.turnDetection : turnDetectionOf(detection, 'session.turn_detection'),
    logprobs: logprobsOf(session.include, 'session.include', previous.logprobs),
  };
}

/** The session as sent to clients. Unsupported features, such as noise reduction, are null. */
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
    include: logprobs ? [logprobsInclude] : null,
    expires_at: expiresAt,
  };
}

/** The same in the format of the beta interface. */
export function describeBetaSession(
  { format, transcription, turnDetection, logprobs }: SessionConfig,
  id: string,
  expiresAt: number,
) {
  const name = Object.keys(betaFormats).find((key) => betaFormats[key].type === format.type);
  return {
    id,
    object: 'realtime.transcription_session',
    input_audio_format: name,
    input_audio_transcription: transcription,
    input_audio_noise_reduction: null,
    turn_detection: turnDetection,
    include: logprobs ? [logprobsInclude] : null,
    expires_at: expiresAt,
  };
}

/** The options of live transcription for a session. */
export function liveOptionsOf({ format, transcription, turnDetection, logprobs }: SessionConfig): LiveOptions {
  const { language, prompt, keywords = [], delay } = transcription;
  const promptText = [prompt ?? '', keywords.join(', ')].filter((text) => text !== '').join(' ');
  return {
    sampleRate: sampleRateOf(format),
    partials: false,
    tokenLogProbabilities: logprobs,
    ...(language !== undefined && { language }),
    ...(promptText !== '' && { prompt: promptText }),
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
