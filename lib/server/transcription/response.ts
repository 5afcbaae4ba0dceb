/** Responses in the format of OpenAI's API, for each response_format. */
import { formats } from '../../formats/index.js';
import { languageNames } from '../../whisper/checkpoint/languages.js';
import type { Segment, Transcription } from '../../whisper/transcription/types.js';
import type { AudioRequest, Endpoint } from './fields.js';
import type { FormTranscription } from './transcribe-form.js';

export interface ResponseContent {
  /** The media type. */
  type: string;
  body: string | object;
}

/** The usage in seconds of audio, rounded up. */
const durationUsage = (duration: number) => ({ type: 'duration', seconds: Math.ceil(duration) });

function segmentOf({ id, seek, start, end, text, ...rest }: Segment) {
  const { tokens, temperature, avg_logprob, compression_ratio, no_speech_prob } = rest;
  return { id, seek, start, end, text, tokens, temperature, avg_logprob, compression_ratio, no_speech_prob };
}

const segmentsOf = (segments: readonly Segment[]) => segments.map(segmentOf);

export const wordsOf = (segments: readonly Segment[]) =>
  segments.flatMap(({ words = [] }) => words.map(({ word, start, end }) => ({ word: word.trim(), start, end })));

/** A response has warnings only if there are any: lost audio and ignored fields must not look like success. */
export function warningsOf({ warnings }: Transcription, { ignored }: AudioRequest): { warnings?: string[] } {
  const all = [...warnings, ...ignored.map((name) => `The field '${name}' is unknown here, and was ignored.`)];
  return all.length > 0 ? { warnings: all } : {};
}

/** OpenAI's member is always a string. */
const nameOf = (language: string | null) => (language === null ? 'unknown' : (languageNames.get(language) ?? language));

/** The languages of the text; none if no speech was found. */
export const languagesOf = ({ language }: Transcription) => (language === null ? [] : [{ code: language }]);

/** The requested fields of verbose_json, without text and usage. */
export function verboseFields(result: Transcription, request: AudioRequest, endpoint: Endpoint) {
  const { language, duration, segments } = result;
  return {
    task: endpoint === 'translations' ? 'translate' : 'transcribe',
    // The language of the text, not of the speech.
    language: endpoint === 'translations' ? 'english' : nameOf(language),
    duration,
    ...(request.segments && { segments: segmentsOf(segments) }),
    ...(request.words && { words: wordsOf(segments) }),
    // Text that was left out, since its audio seems to contain no speech.
    ...(result.omitted && { omitted: result.omitted }),
  };
}

export function responseOf({ result, request, logprobs }: FormTranscription, endpoint: Endpoint): ResponseContent {
  const text = result.text.trim();
  const usage = durationUsage(result.duration);
  switch (request.format) {
    case 'text':
      return { type: 'text/plain; charset=utf-8', body: `${text}\n` };
    case 'srt':
      return { type: 'text/plain; charset=utf-8', body: formats.srt.write(result) };
    case 'vtt':
      return { type: 'text/vtt; charset=utf-8', body: formats.vtt.write(result) };
    case 'verbose_json': {
      const { task, language, duration, ...rest } = verboseFields(result, request, endpoint);
      return json({ task, language, duration, text, ...rest, usage, ...warningsOf(result, request) });
    }
    case 'json': {
      const languages = endpoint === 'transcriptions' ? { languages: languagesOf(result) } : {};
      return json({ text, ...(logprobs && { logprobs }), ...languages, usage, ...warningsOf(result, request) });
    }
  }
}

const json = (body: object): ResponseContent => ({ type: 'application/json; charset=utf-8', body });
