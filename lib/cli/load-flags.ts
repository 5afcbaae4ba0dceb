/** The options of commands that load a model and transcribe with it. */
import { languageCode } from '../whisper/checkpoint/languages.js';
import type { LoadOptions } from '../whisper/model/types.js';
import type { TranscribeOptions } from '../whisper/transcription/types.js';
import { decodingFlags, decodingOptions, numeric } from './decoding-flags.js';
import { oneOf, positiveInteger, UsageError } from './usage.js';

export const modelHelp = `  --model DIR|NAME       folder or hub name of a Whisper checkpoint (default: the small bundled model, for trying)
  --device DEVICE        cpu, cuda, cuda:N or auto (default: auto, a GPU that can be used, else the CPU)
  --dtype TYPE           auto, float32, float16 (GPU) or bfloat16 (default: auto)
  --threads N            CPU threads (default: the cores that may be used)
  --language LANGUAGE    code or English name, or auto (default: the checkpoint's, else detected)
  --language-detection-windows N
                         windows at the beginning that the language is detected from (default: 1)
  --task TASK            transcribe or translate (to English)
  --timestamps MODE      segment or none (default: segment)
  --max-new-tokens N     upper limit for each window
  --vad                  finds silence and leaves it out before anything is decoded
  --batch N              cuts at silences and decodes N windows at once (default: 1, one after the other)
  --track N|LANGUAGE     of a file with several audio tracks, the one of that place (from 0) or language
  --no-ffmpeg            refuses what is not read without ffmpeg, instead of giving it to an installed one
  --max-duration SECONDS, --max-bytes N
                         refuses recordings that are longer or larger; seconds are counted as they are decoded
  --timeout SECONDS      gives up a recording that takes longer`;

export const modelFlags = {
  model: { type: 'string' },
  device: { type: 'string' },
  dtype: { type: 'string' },
  threads: { type: 'string' },
  language: { type: 'string' },
  'language-detection-windows': { type: 'string' },
  task: { type: 'string' },
  timestamps: { type: 'string' },
  'max-new-tokens': { type: 'string' },
  vad: { type: 'boolean' },
  batch: { type: 'string' },
  track: { type: 'string' },
  'no-ffmpeg': { type: 'boolean' },
  'max-duration': { type: 'string' },
  'max-bytes': { type: 'string' },
  timeout: { type: 'string' },
  ...decodingFlags,
} as const;

type Values = { [name in keyof typeof modelFlags]?: string | boolean };

export interface ModelChoice {
  model?: string;
  load: LoadOptions;
  transcribe: TranscribeOptions;
}

const text = (value: string | boolean | undefined) => value as string | undefined;

/** A place, or the name of a language. */
export const trackChoice = (value: string | undefined): number | string | undefined =>
  value !== undefined && /^\d+$/.test(value) ? Number(value) : value;

export function modelChoice(values: Values): ModelChoice {
  const [task, timestamps, dtype, language] = [values.task, values.timestamps, values.dtype, values.language].map(text);
  if (language !== undefined && language !== 'auto' && languageCode(language) === null) {
    throw new UsageError(
      `Whisper knows no language '${language}'; give --language a code such as en or an English name such as english.`,
    );
  }
  return {
    model: text(values.model),
    load: {
      device: text(values.device),
      dtype: dtype === undefined ? undefined : oneOf('--dtype', dtype, ['auto', 'float32', 'float16', 'bfloat16']),
      threads: positiveInteger('--threads', text(values.threads)),
      batch: positiveInteger('--batch', text(values.batch)),
    },
    transcribe: {
      ...decodingOptions(values),
      language,
      task: task === undefined ? undefined : oneOf('--task', task, ['transcribe', 'translate']),
      timestamps: timestamps === undefined ? undefined : oneOf('--timestamps', timestamps, ['none', 'segment']),
      maxNewTokens: positiveInteger('--max-new-tokens', text(values['max-new-tokens'])),
      languageDetectionWindows: positiveInteger(
        '--language-detection-windows',
        text(values['language-detection-windows']),
      ),
      vad: values.vad === true ? true : undefined,
      track: trackChoice(text(values.track)),
      ffmpeg: values['no-ffmpeg'] === true ? false : undefined,
      maxDuration: numeric(values, 'max-duration'),
      maxBytes: numeric(values, 'max-bytes'),
      timeout: values.timeout === undefined ? undefined : 1000 * numeric(values, 'timeout')!,
    },
  };
}
