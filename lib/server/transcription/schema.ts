/** Schemas of the audio routes for /openapi.json. */
import type { Endpoint } from './fields.js';
import { responseFormats } from './fields.js';

const text = { type: 'string' } as const;
const texts = { type: 'array', items: text } as const;
const number = { type: 'number' } as const;

const usage = {
  type: 'object',
  properties: { type: { type: 'string', enum: ['duration'] }, seconds: number },
  required: ['type', 'seconds'],
} as const;

const segment = {
  type: 'object',
  properties: {
    id: { type: 'integer' },
    seek: { type: 'integer' },
    start: number,
    end: number,
    text,
    tokens: { type: 'array', items: { type: 'integer' } },
    temperature: number,
    avg_logprob: number,
    compression_ratio: number,
    no_speech_prob: number,
  },
} as const;

const word = { type: 'object', properties: { word: text, start: number, end: number } } as const;

const omission = { type: 'object', properties: { start: number, end: number, reason: text, text } } as const;

const logprob = {
  type: 'object',
  properties: { token: text, bytes: { type: 'array', items: { type: 'integer' } }, logprob: number },
} as const;

const shared = {
  file: {
    type: 'string',
    format: 'binary',
    description: 'The recording: flac, mp3, mp4, m4a, ogg, wav, webm and others.',
  },
  model: { type: 'string', description: 'A model of /v1/models, or an alias.' },
  prompt: { type: 'string', description: 'Text that guides names and style.' },
  response_format: { type: 'string', enum: responseFormats, default: 'json' },
  temperature: { type: 'number', minimum: 0, maximum: 1, default: 0 },
} as const;

const transcriptionOnly = {
  language: { type: 'string', description: 'The language of the speech, as its code.' },
  languages: { ...texts, description: 'The languages among which the language is detected.' },
  keywords: { ...texts, description: 'Names and words that are likely to occur.' },
  timestamp_granularities: {
    type: 'array',
    items: { type: 'string', enum: ['word', 'segment'] },
    default: ['segment'],
  },
  include: { type: 'array', items: { type: 'string', enum: ['logprobs'] } },
  stream: { type: 'boolean', default: false },
  chunking_strategy: {
    description: 'auto, or an object: the recording is split at silences, and the parts are decoded in parallel.',
    oneOf: [
      { type: 'string', enum: ['auto'] },
      {
        type: 'object',
        properties: {
          type: { type: 'string', enum: ['server_vad'] },
          threshold: { ...number, default: 0.5 },
          prefix_padding_ms: { ...number, default: 300 },
          silence_duration_ms: { ...number, default: 200 },
        },
        required: ['type'],
      },
    ],
  },
} as const;

const errorSchema = {
  type: 'object',
  properties: {
    error: {
      type: 'object',
      properties: {
        message: text,
        type: text,
        param: { type: 'string', nullable: true },
        code: { type: 'string', nullable: true },
      },
      required: ['message', 'type', 'param', 'code'],
    },
  },
  required: ['error'],
} as const;

const errorResponses = {
  '4xx': { description: 'An error in the request', ...errorSchema },
  '5xx': { description: 'An error in the server', ...errorSchema },
};

export function audioSchema(endpoint: Endpoint) {
  const endpointFields = endpoint === 'transcriptions' ? transcriptionOnly : {};
  const response = {
    description: 'The text. text, srt and vtt are plain text; with stream true, server-sent events.',
    type: 'object',
    properties: {
      text,
      task: text,
      language: text,
      duration: number,
      segments: { type: 'array', items: segment },
      words: { type: 'array', items: word },
      logprobs: { type: 'array', items: logprob },
      languages: { type: 'array', items: { type: 'object', properties: { code: text } } },
      usage,
      omitted: { type: 'array', items: omission },
      warnings: texts,
    },
    required: ['text'],
  };
  return {
    tags: ['audio'],
    summary: endpoint === 'transcriptions' ? 'Speech to text in the spoken language' : 'Speech to English text',
    security: [{ key: [] }],
    consumes: ['multipart/form-data'],
    body: { type: 'object', properties: { ...shared, ...endpointFields }, required: ['file', 'model'] },
    response: { 200: response, ...errorResponses },
  };
}
