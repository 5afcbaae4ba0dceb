/** Flags of commands that load a model and transcribe with it, and the options they give. */
import { languageCode } from '../whisper/checkpoint/languages.js';
import { type LoadOptions, loadOptions } from '../whisper/model/types.js';
import { type TranscribeOptions, transcribeOptions } from '../whisper/transcription/options.js';
import { type Flag, flagsOf, optionsFrom, type Values } from './flags.js';
import { UsageError } from './usage.js';

const loading = flagsOf(loadOptions);
const transcribing = flagsOf(transcribeOptions);

export const modelFlags: readonly Flag[] = [...loading, ...transcribing];

export interface ModelChoice {
  load: LoadOptions;
  transcribe: TranscribeOptions;
}

/** Throws UsageError. */
export function modelChoice(values: Values): ModelChoice {
  const load = optionsFrom(loadOptions, loading, values);
  const transcribe = optionsFrom(transcribeOptions, transcribing, values);
  const { language } = transcribe;
  if (typeof language === 'string' && language !== 'auto' && languageCode(language) === null) {
    throw new UsageError(
      `Whisper does not know the language '${language.slice(0, 100)}'; give --language a code such as en or an English name such as english.`,
    );
  }
  return { load, transcribe };
}
