/** The steps between a window's decoded text and the segments of the result, which both planners share. */
import type { Voice } from '../../vad/voice.js';
import { isSkipped } from '../decoding/silence.js';
import type { WindowResult } from '../decoding/windows.js';
import type { WindowText } from './running-text.js';
import type { Draft } from './segment-builder.js';
import type { TranscriptionState } from './state.js';
import type { Segment } from './types.js';

/** A window that begins at sample `begin`, after decoding. */
export interface DecodedWindow {
  begin: number;
  attempt: WindowResult;
  /** The result of voice detection, if it was needed. */
  voice?: Voice;
  /** The part of its text that is published already, with the option `onText`. */
  published?: WindowText;
}

/**
 * Returns the tokens of a window's text, null if the window is dropped as silent. Of a silent window only the published
 * text is kept: the first `publishedTokens` tokens. Sets the recording's language.
 */
export function keptTokens(
  job: TranscriptionState,
  { attempt, published }: DecodedWindow,
  publishedTokens: number,
): number[] | null {
  const skipped = isSkipped(attempt, job.settings.decoding);
  const isDropped = skipped && !published?.text;
  // openai/whisper takes the language from the first window, even if that is silent.
  if (!isDropped || job.options.rules === 'openai') job.setLanguage(attempt.language);
  if (isDropped) return null;
  job.spoken = true;
  return skipped ? attempt.tokens.slice(0, publishedTokens) : attempt.tokens;
}

/** Removes drafts that are known hallucinations, unless they are published. */
export function dropInventions(
  job: TranscriptionState,
  { begin, voice, published }: DecodedWindow,
  drafts: Draft[],
): void {
  if (published?.text) return;
  job.dropInventions(drafts, begin / job.model.checkpoint.preprocessor.sampleRate, voice);
}

/**
 * Makes segments of a window's drafts and reports them: publishes the rest of the text, warns of a new language, and
 * lists a window that is dropped as silent. The audio ends at sample `audioEnd`; the next window begins at `next`.
 */
export function finishWindow(
  job: TranscriptionState,
  { begin, attempt, published }: DecodedWindow,
  drafts: readonly Draft[],
  { audioEnd, next }: { audioEnd: number; next: number },
): Segment[] {
  const { sampleRate } = job.model.checkpoint.preprocessor;
  const skipped = isSkipped(attempt, job.settings.decoding);
  const segments = job.builder.publish(drafts, audioEnd / sampleRate, published?.text.length);
  if (published && (!skipped || published.text)) {
    job.running!.finish(published, segments.map(({ text }) => text).join(''));
  }
  if (skipped && segments.length === 0) job.omit(begin / sampleRate, next / sampleRate, 'no speech', attempt.tokens);
  // The language of a window without text is not reliable.
  if (job.settings.follow && segments.length > 0) job.warnOfLanguage(attempt.language, begin);
  return segments;
}
