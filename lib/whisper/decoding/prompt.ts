/** The prompt of a window, and checks of the options that determine it. */
import { described, refuse } from '../../checks.js';
import { OneheadError } from '../../errors.js';
import type { GenerationConfig, Task } from '../checkpoint/config.js';
import { languageCode } from '../checkpoint/languages.js';

export type { Task };
export type TimestampMode = 'none' | 'segment';

export interface PromptOptions {
  /** A code; null if the model has no languages. */
  language: string | null;
  task: Task;
  timestamps: TimestampMode;
}

/**
 * Returns the code of a language, from its code or English name. Throws OneheadError INVALID_ARGUMENT if the model does
 * not support it; the message lists the supported ones.
 */
export function checkLanguage(language: string, generation: GenerationConfig, argument = 'language'): string {
  const code = languageCode(language);
  const supported = [...generation.languages.keys()];
  if (!generation.multilingual) {
    if (code === 'en') return code;
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `This model writes English only, so language ${described(language)} cannot be used; leave it out or load a multilingual model.`,
      { argument, expected: 'en', received: described(language) },
    );
  }
  if (code === null || !generation.languages.has(code)) {
    const list =
      supported.slice(0, 12).join(', ') + (supported.length > 12 ? `, ... (${supported.length} in all)` : '');
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `This model does not know the language ${described(language)}; it knows ${list}.`,
      { argument, expected: list, received: described(language) },
    );
  }
  return code;
}

/**
 * Returns the language and the task of a call. The options take precedence over the checkpoint's defaults. If neither
 * determines anything, those that the checkpoint forces apply, as in transformers. The language is null if it is to be
 * detected: by default, and always for 'auto'. Throws OneheadError INVALID_ARGUMENT.
 */
export function languageAndTask(
  { language, task }: { language?: string; task?: string },
  generation: GenerationConfig,
): { language: string | null; task: Task } {
  const { defaults, forced } = generation;
  const isOpen = language === undefined && task === undefined && defaults.language === null && defaults.task === null;
  const fallback = isOpen ? forced : defaults;
  return {
    language:
      language === undefined
        ? fallback.language
        : language.trim().toLowerCase() === 'auto'
          ? null
          : checkLanguage(language, generation),
    task: checkTask(task ?? fallback.task ?? 'transcribe', generation),
  };
}

function checkTask(task: string, generation: GenerationConfig): Task {
  if (task !== 'transcribe' && task !== 'translate') {
    refuse('task', "'transcribe' or 'translate'", task);
  }
  if (task === 'translate' && !(generation.multilingual && generation.tasks.has('translate'))) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      "This model writes English only and cannot translate; use task 'transcribe' or load a multilingual model.",
      { argument: 'task' },
    );
  }
  return task;
}

export function checkTimestamps(timestamps: string, generation: GenerationConfig): TimestampMode {
  if (timestamps !== 'none' && timestamps !== 'segment') {
    refuse('timestamps', "'none' or 'segment'", timestamps);
  }
  if (timestamps === 'segment' && generation.noTimestampsToken === null) {
    throw new OneheadError('INVALID_ARGUMENT', "This model has no timestamp tokens; use timestamps 'none'.", {
      argument: 'timestamps',
    });
  }
  return timestamps;
}

/**
 * Returns <|startoftranscript|>, language and task if the model has them, and <|notimestamps|> for timestamps 'none'.
 */
export function promptTokens(generation: GenerationConfig, { language, task, timestamps }: PromptOptions): number[] {
  const prompt = [generation.startToken];
  if (generation.multilingual && language !== null) {
    prompt.push(generation.languages.get(language)!);
    const id = generation.tasks.get(task);
    if (id !== undefined) prompt.push(id);
  } else if (generation.multilingual) {
    // Old checkpoints force language and task with pairs of position and token.
    for (const [, id] of generation.forcedDecoderIds) {
      if (id !== null && id !== generation.noTimestampsToken) prompt.push(id);
    }
  }
  if (timestamps === 'none' && generation.noTimestampsToken !== null) prompt.push(generation.noTimestampsToken);
  return prompt;
}

export const noPreviousToken = () =>
  new OneheadError(
    'NOT_SUPPORTED',
    'This model has no <|startofprev|> token, so it supports no prompt, hotwords or previous text; leave them out.',
    { argument: 'prompt' },
  );

/** The tokens before a window's text. */
export interface WindowPrompt {
  prompt: number[];
  prefix: number[];
  /** Index in `prompt` of <|startoftranscript|>. */
  startIndex: number;
}

/** Returns the last `count` elements of a list; none if `count` is 0 or less. */
export function lastOf<T>(list: readonly T[], count: number): T[] {
  return count > 0 ? list.slice(-count) : [];
}

/** Limits on the new tokens of a window. */
export interface LengthLimits {
  minNewTokens?: number;
  maxNewTokens?: number;
}

/**
 * The maximum number of tokens of previous text, which follow <|startofprev|>: half of the positions less one, as in
 * openai/whisper.
 */
export function previousRoom(targetPositions: number): number {
  return Math.floor(targetPositions / 2) - 1;
}

/**
 * Returns the tokens before a window's new text:
 *
 * - <|startofprev|> and the last tokens of `previous`, as many as there is room for
 * - the result of `promptTokens`
 * - the prefix, shortened if there is no room, after a timestamp of 0 for timestamps 'segment'
 *
 * Throws OneheadError NOT_SUPPORTED if there is previous text and the model has no <|startofprev|>.
 */
export function windowPrompt(
  generation: GenerationConfig,
  targetPositions: number,
  options: PromptOptions,
  { previous = [], prefix = [] }: { previous?: readonly number[]; prefix?: readonly number[] },
  { minNewTokens = 0, maxNewTokens }: LengthLimits = {},
): WindowPrompt {
  const { previousToken, timestampBegin } = generation;
  const start = promptTokens(generation, options);
  const half = previousRoom(targetPositions);
  const timestamp = options.timestamps === 'segment' && prefix.length > 0 ? [timestampBegin] : [];
  const room = targetPositions - start.length - timestamp.length;
  const fittingPrefix = prefix.slice(0, Math.max(0, Math.min(half, room - Math.max(1, minNewTokens))));
  // The previous text leaves at least a quarter of the positions for new text, and room for `minNewTokens`.
  const quarter = Math.floor(targetPositions / 4);
  const reserved = Math.max(minNewTokens, Math.min(maxNewTokens ?? quarter, quarter));
  const fittingPrevious = lastOf(previous, Math.min(half, room - fittingPrefix.length - reserved - 1));
  const hasPrevious = fittingPrevious.length > 0;
  if (hasPrevious && previousToken === null) throw noPreviousToken();
  return {
    prompt: hasPrevious ? [previousToken!, ...fittingPrevious, ...start] : start,
    prefix: [...timestamp, ...fittingPrefix],
    startIndex: hasPrevious ? fittingPrevious.length + 1 : 0,
  };
}
