/** Decides which words of a hypothesis are confirmed. */
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import type { TimedWord } from '../transcription/words.js';
import type { LivePolicy } from './options.js';

/** Words by their text, as agreement compares them. */
const alike = (a: TimedWord, b: TimedWord): boolean => a.word === b.word;

/**
 * The number of words at the beginning of a hypothesis that can be confirmed. `previous` is the hypothesis before, of
 * less audio. `frontier`, in the words' own seconds, is the limit before which attention must lie.
 */
export function sureWords(
  policy: LivePolicy,
  words: readonly TimedWord[],
  previous: readonly TimedWord[],
  frontier: number,
): number {
  const until = (ends: (word: TimedWord, index: number) => boolean) => {
    const index = words.findIndex(ends);
    return index < 0 ? words.length : index;
  };
  const seen = () => until(({ end }) => end > frontier);
  const agreed = () => until((word, index) => !previous[index] || !alike(word, previous[index]));
  if (policy === 'attention') return seen();
  if (policy === 'agreement') return agreed();
  return Math.min(seen(), agreed());
}

/** The policy of a checkpoint that none was chosen for; docs/live.md has the measurements. */
export function usualPolicy({ config, generation }: Checkpoint): LivePolicy {
  // Decoders that were made shallow afterwards, and heads that nobody named, do not follow the audio closely enough.
  const shallow = config.decoder.layers < config.encoder.layers / 2;
  return shallow || generation.alignmentWarning !== null ? 'agreement' : 'attention';
}
