/** The flags of commands that load a model and transcribe with it. */
import { languageCode } from '../whisper/checkpoint/languages.js';
import { type LoadOptions, loadOptions } from '../whisper/model/types.js';
import { type TranscribeOptions, transcribeOptions } from '../whisper/transcription/options.js';
import { type Flag, flagsOf, optionsFrom, type Values } from './flags.js';
import { UsageError } from './usage.js';

const loadFlags = flagsOf(loadOptions);
const transcribeFlags = flagsOf(transcribeOptions);

export const modelFlags: readonly Flag[] = [...loadFlags, ...transcribeFlags];

export interface ModelChoice {
  load: LoadOptions;
  transcribe: TranscribeOptions;
}

/** Parses the options of loading and transcription from a command line. Throws UsageError. */
export function modelChoice(values: Values): ModelChoice {
  const load = optionsFrom(loadOptions, loadFlags, values);
  const transcribe = optionsFrom(transcribeOptions, transcribeFlags, values);
  const { language } = transcribe;
  if (typeof language === 'string' && language !== 'auto' && languageCode(language) === null) {
    throw new UsageError(
      `Whisper does not support the language '${language.slice(0, 100)}'; set --language to a code such as en or an English name such as english.`,
    );
  }
  return { load, transcribe };
}
