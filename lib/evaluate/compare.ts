/** Compares dtypes: error rates, word times, and text that is invented for silence. */
import type { Transcription } from '../whisper/transcription/types.js';
import type { TimedWord } from './alignments.js';
import { type Evaluation, evaluate, type Rates, type Recording } from './evaluate.js';
import type { NormalizerName } from './normalize.js';
import { summarizeWordTimes, type WordTimeError, type WordTimes, wordTimeErrors } from './word-times.js';

/** Transcribes with word times, in one dtype. */
export interface Transcriber {
  transcribe(audio: string | Float32Array): Promise<Transcription>;
}

export interface ComparedType extends Rates {
  /** The dtype. */
  type: string;
  /** The word error rate minus that of the first type: 0.002 is 0.2 percentage points more. */
  difference: number;
  /** The number of recordings whose text differs from the first type's. */
  otherTexts: number;
  /** Differences of word times from those of the first type. */
  shift: WordTimes;
  /** True if silence and faint noise give no text. */
  silent: boolean;
  files: Evaluation['files'];
}

const [silenceSeconds, sampleRate] = [10, 16_000];

/** 10 s of silence, and 10 s of reproducible noise with peaks of -60 dB. */
function quietSounds(): Float32Array[] {
  let state = 1;
  const noise = Float32Array.from({ length: silenceSeconds * sampleRate }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return 0.001 * (state / 2 ** 31 - 1);
  });
  return [new Float32Array(silenceSeconds * sampleRate), noise];
}

const wordsOf = ({ segments }: Transcription): TimedWord[] =>
  segments.flatMap(({ words = [] }) => words.map(({ word, start, end }) => ({ word, start, end })));

/**
 * Transcribes all recordings in each dtype, one after another. The first type is the baseline of the others. `open`
 * loads the model in a dtype; it is closed before the next. `onType` is called with the result of each type.
 */
export async function compareTypes(
  recordings: readonly Recording[],
  types: readonly string[],
  open: (type: string) => Promise<Transcriber & { close(): void }>,
  normalizer: NormalizerName = 'english',
  onType: (compared: ComparedType) => void = () => {},
): Promise<ComparedType[]> {
  const all: ComparedType[] = [];
  const firstWords = new Map<string, TimedWord[]>();
  for (const type of types) {
    const transcriber = await open(type);
    try {
      const shifts: WordTimeError[] = [];
      let words = 0;
      const evaluation = await evaluate(
        recordings,
        async (file) => {
          const result = await transcriber.transcribe(file);
          const first = firstWords.get(file) ?? wordsOf(result);
          firstWords.set(file, first);
          shifts.push(...wordTimeErrors(first, wordsOf(result)));
          words += first.length;
          return result;
        },
        normalizer,
      );
      const quiet = [];
      for (const samples of quietSounds()) quiet.push(await transcriber.transcribe(samples));
      const [first] = all;
      const { files, ...rates } = evaluation;
      const compared: ComparedType = {
        type,
        ...rates,
        difference: first ? rates.wordErrorRate - first.wordErrorRate : 0,
        otherTexts: first ? files.filter(({ hypothesis }, i) => hypothesis !== first.files[i].hypothesis).length : 0,
        shift: summarizeWordTimes(shifts, words),
        silent: quiet.every(({ text }) => text.trim() === ''),
        files,
      };
      all.push(compared);
      onType(compared);
    } finally {
      transcriber.close();
    }
  }
  return all;
}
