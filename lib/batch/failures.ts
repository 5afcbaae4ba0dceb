/** What may go better later, and what never will. */
import { type ErrorCode, OneheadError } from '../errors.js';

/** Errors of the recording or of what is asked of it: nobody can transcribe that. */
const lasting = new Set<ErrorCode>([
  'INVALID_ARGUMENT',
  'NOT_SUPPORTED',
  'AUDIO_NOT_FOUND',
  'AUDIO_INVALID',
  'AUDIO_TOO_LARGE',
  'AUDIO_TOO_LONG',
]);

/** True for what is set aside at once. Everything else, a full disk or a device that fails, may go better later. */
export function isLasting(error: unknown): boolean {
  return error instanceof OneheadError && lasting.has(error.code);
}
