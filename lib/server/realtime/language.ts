/** Refuses a session's language that its model does not support, before audio arrives and is lost. */
import { OneheadError } from '../../errors.js';
import { checkLanguage } from '../../whisper/decoding/prompt.js';
import { badField } from '../service/api-error.js';
import type { Models } from '../service/models.js';
import type { Transcription } from './session-config.js';

/**
 * Loads the model if a language is given. Rejects with ApiError: 400 for an unsupported language, 404 for an unknown
 * model.
 */
export async function checkSessionLanguage(
  models: Models,
  { model, language }: Transcription,
  param: string,
  signal?: AbortSignal,
): Promise<void> {
  if (language === undefined) return;
  const { whisper, release } = await models.acquire(model, signal);
  try {
    checkLanguage(language, whisper.model.checkpoint.generation);
  } catch (error) {
    if (error instanceof OneheadError && error.code === 'INVALID_ARGUMENT') throw badField(param, error.message);
    throw error;
  } finally {
    release();
  }
}
