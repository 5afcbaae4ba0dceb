/** Decides which words of a hypothesis are confirmed. */
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import type { TimedWord } from '../transcription/words.js';
import type { LivePolicy } from './options.js';

/** Compares words by their text, for agreement. */
const alike = (a: TimedWord, b: TimedWord): boolean => a.word === b.word;

/**
 * The number of words at the start of a hypothesis that can be confirmed. `previous` is the hypothesis for less audio.
 * Attention must end before `frontier`, in the words' seconds.
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

/** The default policy of a checkpoint; docs/live.md has the measurements. */
export function usualPolicy({ config, generation }: Checkpoint): LivePolicy {
  // Pruned decoders, and unnamed alignment heads, do not follow the audio closely enough.
  const shallow = config.decoder.layers < config.encoder.layers / 2;
  return shallow || generation.alignmentWarning !== null ? 'agreement' : 'attention';
}
