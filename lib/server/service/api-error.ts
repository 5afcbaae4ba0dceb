/** Errors in the format of OpenAI's API. */
import { expectedMessage } from '../../checks.js';
import { OneheadError, shown } from '../../errors.js';

export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null };
}

export interface ApiErrorDetails {
  type?: string;
  param?: string | null;
  code?: string | null;
  /** Seconds after which to try again. */
  retryAfter?: number;
  /** If false, OpenAI's clients do not retry automatically. */
  retry?: boolean;
  cause?: unknown;
}

/** An error response. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | null;
  readonly retryAfter?: number;
  readonly retry?: boolean;

  constructor(status: number, message: string, details: ApiErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.status = status;
    this.type = details.type ?? (status >= 500 ? 'server_error' : 'invalid_request_error');
    this.param = details.param ?? null;
    this.code = details.code ?? null;
    this.retryAfter = details.retryAfter;
    this.retry = details.retry;
  }

  get body(): ErrorBody {
    const { message, type, param, code } = this;
    return { error: { message, type, param, code } };
  }

  /** Headers of the response. */
  get headers(): Record<string, string> {
    const seconds = this.retryAfter === undefined ? null : Math.max(1, Math.ceil(this.retryAfter));
    return {
      ...(seconds !== null && { 'retry-after': String(seconds) }),
      ...(this.retry !== undefined && { 'x-should-retry': String(this.retry) }),
    };
  }
}

/** An error 400 for a missing or invalid field. */
export function badField(param: string, message: string, code = 'invalid_value'): ApiError {
  return new ApiError(400, message, { param, code });
}

/** Throws ApiError 400 for a field with an invalid value. */
export function refuseField(param: string, expected: string, received: unknown, advice?: string): never {
  throw badField(param, expectedMessage(param, expected, received, advice));
}

export function modelNotFound(name: string): ApiError {
  return new ApiError(404, `The model '${shown(name, 100)}' does not exist or you do not have access to it.`, {
    param: 'model',
    code: 'model_not_found',
  });
}

/** The fields of OpenAI's API that correspond to options of onehead. */
const fieldOf: Record<string, string> = {
  language: 'language',
  languages: 'languages',
  prompt: 'prompt',
  hotwords: 'keywords',
  temperature: 'temperature',
  task: 'model',
  track: 'file',
  audio: 'file',
};

/** How a message about options reads for a client, which sets fields, and cannot change the server's limits. */
const clientWords: [RegExp, string][] = [
  [/ or raise max(Duration|Bytes)/g, ''],
  [/\bhotwords\b/g, 'keywords'],
  [/\bwordTimestamps\b/g, 'timestamp_granularities'],
  [/use task 'transcribe'/g, 'use /v1/audio/transcriptions'],
];
const forClient = (message: string): string =>
  clientWords.reduce((text, [pattern, words]) => text.replace(pattern, words), message);

/** Converts an error for a client. Details of errors that the client did not cause stay in the log. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof OneheadError) {
    const { code, argument, retryAfter } = error;
    const message = forClient(error.message);
    const param = fieldOf[argument ?? ''] ?? null;
    switch (code) {
      case 'INVALID_ARGUMENT':
      case 'NOT_SUPPORTED':
        return new ApiError(400, message, { param, code: 'invalid_value', cause: error });
      case 'AUDIO_INVALID':
        return new ApiError(400, message, { param: 'file', code: 'invalid_audio', cause: error });
      case 'AUDIO_TOO_LONG':
        return new ApiError(400, message, { param: 'file', code: 'audio_too_long', cause: error });
      case 'AUDIO_TOO_LARGE':
        return new ApiError(413, message, { param: 'file', code: 'file_too_large', cause: error });
      case 'BUSY':
        return overloaded(retryAfter ?? 1, error);
      case 'TIMED_OUT':
        return new ApiError(504, message, { code: 'timeout', retry: false, cause: error });
      case 'OUT_OF_MEMORY':
        return new ApiError(503, 'The server has too little memory for your request at present; try again later.', {
          code: 'out_of_memory',
          retryAfter: 5,
          cause: error,
        });
      case 'DEVICE_FAILED':
        return new ApiError(503, 'The device failed while it processed your request; try again later.', {
          code: 'model_failed',
          retryAfter: 5,
          cause: error,
        });
      case 'DISPOSED':
        return new ApiError(503, 'The model was unloaded; try again.', {
          code: 'unloaded',
          retryAfter: 1,
          cause: error,
        });
    }
  }
  return new ApiError(500, 'The server had an error while processing your request; see its log by the request id.', {
    cause: error,
  });
}

export function overloaded(retryAfter: number, cause?: unknown): ApiError {
  return new ApiError(503, 'The server is overloaded; try again later.', { code: 'overloaded', retryAfter, cause });
}

export function shuttingDown(): ApiError {
  return new ApiError(503, 'The server is shutting down; try another, or try again later.', {
    code: 'shutting_down',
    retryAfter: 5,
  });
}
