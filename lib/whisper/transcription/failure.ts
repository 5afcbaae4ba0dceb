/** The error of a transcription that fails midway, with the finished part. */
import { OneheadError } from '../../errors.js';
import type { Transcription } from './types.js';

/** An error in the middle of a recording, with the finished part. Code and message are those of `cause`. */
export class TranscriptionError extends OneheadError {
  /**
   * The finished segments, their text and the duration that was read. `incomplete` is true, and the last of `warnings`
   * is the error's message.
   */
  readonly partial: Transcription;

  constructor(cause: OneheadError, finished: Transcription) {
    const { code, message, operation, argument, expected, received } = cause;
    super(code, message, { operation, argument, expected, received, cause });
    this.partial = { ...finished, warnings: [...finished.warnings, message], incomplete: true };
  }
}
