/** The prompt of a window, and the checks of the options that determine it. */
import { described, refuse } from '../../checks.js';
import { OneheadError } from '../../errors.js';
import type { GenerationConfig, Task } from '../checkpoint/config.js';
import { languageCode } from '../checkpoint/languages.js';

export type { Task };
export type TimestampMode = 'none' | 'segment';

export interface PromptOptions {
  /** Code or name; null if the model knows no languages. */
  language: string | null;
  task: Task;
  timestamps: TimestampMode;
}

/** The code of a language that this model can write. Throws OneheadError INVALID_ARGUMENT, which lists these. */
export function checkLanguage(language: string, generation: GenerationConfig, argument = 'language'): string {
  const code = languageCode(language);
  const known = [...generation.languages.keys()];
  if (!generation.multilingual) {
    if (code === 'en') return code;
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `This model writes English only, so language ${described(language)} cannot be used; leave it out or load a multilingual model.`,
      { argument, expected: 'en', received: described(language) },
    );
  }
  if (code === null || !generation.languages.has(code)) {
    const shown =
      known.length > 12 ? `${known.slice(0, 12).join(', ')}, ... (${known.length} in all)` : known.join(', ');
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `This model does not know the language ${described(language)}; it knows ${shown}.`,
      {
        argument,
        expected: shown,
        received: described(language),
      },
    );
  }
  return code;
}

/**
 * The language and the task of a call, in this order: those that it names, the checkpoint's defaults, those that the
 * checkpoint forces (as in transformers). The language is null if it is to be detected: by default, and for 'auto'
 * whatever the checkpoint says. Throws OneheadError INVALID_ARGUMENT.
 */
export function languageAndTask(
  { language, task }: { language?: string; task?: string },
  generation: GenerationConfig,
): { language: string | null; task: Task } {
  const { usual, forced } = generation;
  const silent = [language, task].every((one) => one === undefined) && usual.language === null && usual.task === null;
  const defaults = silent ? forced : usual;
  return {
    language:
      language === undefined
        ? defaults.language
        : language.trim().toLowerCase() === 'auto'
          ? null
          : checkLanguage(language, generation),
    task: checkTask(task ?? defaults.task ?? 'transcribe', generation),
  };
}

export function checkTask(task: string, generation: GenerationConfig): Task {
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
 * Returns <|startoftranscript|>, language and task if the model has them, and <|notimestamps|> if no times are wanted.
 */
export function promptTokens(generation: GenerationConfig, { language, task, timestamps }: PromptOptions): number[] {
  const prompt = [generation.startToken];
  if (generation.multilingual && language !== null) {
    prompt.push(generation.languages.get(language)!);
    const id = generation.tasks.get(task);
    if (id !== undefined) prompt.push(id);
  } else if (generation.multilingual) {
    // Old checkpoints fix their language and task as pairs of position and token.
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
    'This model has no <|startofprev|> token, so it takes no prompt, hotwords or previous text; leave them out.',
    { argument: 'prompt' },
  );

/** The tokens before a window's text. */
export interface WindowPrompt {
  prompt: number[];
  prefix: number[];
  /** Index in `prompt` of <|startoftranscript|>. */
  startIndex: number;
}

/** The last `count` elements of a list; none if `count` is 0 or less. */
export function lastOf<T>(list: readonly T[], count: number): T[] {
  return count > 0 ? list.slice(-count) : [];
}

/** Limits on the new tokens of a window. */
export interface LengthLimits {
  minNewTokens?: number;
  maxNewTokens?: number;
}

/**
 * Room for previous text before <|startoftranscript|>, in tokens, without <|startofprev|>: half of the positions, as in
 * openai/whisper.
 */
export function previousRoom(targetPositions: number): number {
  return Math.floor(targetPositions / 2) - 1;
}

/**
 * Returns <|startofprev|> with the last of the `previous` text, the prompt of `promptTokens`, and the prefix of the
 * text, behind a timestamp of 0 if times are wanted.
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
  const first = options.timestamps === 'segment' && prefix.length > 0 ? [timestampBegin] : [];
  const left = targetPositions - start.length - first.length;
  const begun = prefix.slice(0, Math.max(0, Math.min(half, left - Math.max(1, minNewTokens))));
  const quarter = Math.floor(targetPositions / 4);
  // New text keeps at least a quarter of the positions. The previous text is cut for this, as for a forced length.
  const wanted = Math.max(minNewTokens, Math.min(maxNewTokens ?? quarter, quarter));
  const before = lastOf(previous, Math.min(half, left - begun.length - wanted - 1));
  if (before.length > 0 && previousToken === null) {
    throw noPreviousToken();
  }
  return {
    prompt: before.length > 0 ? [previousToken!, ...before, ...start] : start,
    prefix: [...first, ...begun],
    startIndex: before.length > 0 ? before.length + 1 : 0,
  };
}
