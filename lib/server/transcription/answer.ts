/** A transcription in the format of OpenAI's server, for each response_format. */
import { formats } from '../../formats/index.js';
import { languageNames } from '../../whisper/checkpoint/languages.js';
import type { Segment, Transcription } from '../../whisper/transcription/types.js';
import type { AudioRequest, Endpoint } from './fields.js';
import type { Work } from './work.js';

export interface Answer {
  type: string;
  body: string | object;
}

/** Billed duration: seconds, rounded up. */
export const durationUsage = (duration: number) => ({ type: 'duration', seconds: Math.ceil(duration) });

function segmentOf({ id, seek, start, end, text, ...rest }: Segment) {
  const { tokens, temperature, avg_logprob, compression_ratio, no_speech_prob } = rest;
  return { id, seek, start, end, text, tokens, temperature, avg_logprob, compression_ratio, no_speech_prob };
}

export const segmentsOf = (segments: readonly Segment[]) => segments.map(segmentOf);

export const wordsOf = (segments: readonly Segment[]) =>
  segments.flatMap(({ words = [] }) => words.map(({ word, start, end }) => ({ word: word.trim(), start, end })));

/** Warnings, if there are any: lost audio must not look like success. */
export const warned = ({ warnings }: Transcription) => (warnings.length > 0 ? { warnings } : {});

/** The members of verbose_json besides text and usage, as requested. */
export function verbose(result: Transcription, asked: AudioRequest, endpoint: Endpoint) {
  const { language, duration, segments } = result;
  return {
    task: endpoint === 'translations' ? 'translate' : 'transcribe',
    // A translation is in English, whatever was spoken.
    language: endpoint === 'translations' ? 'english' : (languageNames.get(language) ?? language),
    duration,
    ...(asked.segments && { segments: segmentsOf(segments) }),
    ...(asked.words && { words: wordsOf(segments) }),
    // Text that was dropped because there seems to be no speech.
    ...(result.omitted && { omitted: result.omitted }),
  };
}

export function answerOf({ result, asked, logprobs }: Work, endpoint: Endpoint): Answer {
  const text = result.text.trim();
  const usage = durationUsage(result.duration);
  switch (asked.format) {
    case 'text':
      return { type: 'text/plain; charset=utf-8', body: `${text}\n` };
    case 'srt':
      return { type: 'text/plain; charset=utf-8', body: formats.srt.write(result) };
    case 'vtt':
      return { type: 'text/vtt; charset=utf-8', body: formats.vtt.write(result) };
    case 'verbose_json': {
      const { task, language, duration, ...rest } = verbose(result, asked, endpoint);
      return json({ task, language, duration, text, ...rest, usage, ...warned(result) });
    }
    case 'json': {
      const languages = endpoint === 'transcriptions' ? { languages: [{ code: result.language }] } : {};
      return json({ text, ...(logprobs && { logprobs }), ...languages, usage, ...warned(result) });
    }
  }
}

const json = (body: object): Answer => ({ type: 'application/json; charset=utf-8', body });
