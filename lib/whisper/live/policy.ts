/** Policies that decide which words of a hypothesis are confirmed. */
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import type { TimedWord } from '../transcription/words.js';
import type { LivePolicy } from './options.js';

/**
 * Returns the number of words at the start of a hypothesis that can be confirmed. `previous` is the hypothesis of the
 * decoding before. With 'attention', words must end by `frontier`, in seconds of the words' times.
 */
export function confirmableWords(
  policy: LivePolicy,
  words: readonly TimedWord[],
  previous: readonly TimedWord[],
  frontier: number,
): number {
  const countBefore = (stops: (word: TimedWord, index: number) => boolean) => {
    const index = words.findIndex(stops);
    return index < 0 ? words.length : index;
  };
  const attended = () => countBefore(({ end }) => end > frontier);
  const agreed = () => countBefore(({ word }, index) => word !== previous[index]?.word);
  if (policy === 'attention') return attended();
  if (policy === 'agreement') return agreed();
  return Math.min(attended(), agreed());
}

/** Returns the default policy for a checkpoint; docs/live.md has the measurements. */
export function defaultPolicy({ config, generation }: Checkpoint): LivePolicy {
  // The attention of pruned decoders, and of heads that the checkpoint does not name, is not aligned closely enough.
  const shallow = config.decoder.layers < config.encoder.layers / 2;
  return shallow || generation.alignmentWarning !== null ? 'agreement' : 'attention';
}
