/**
 * Sequences that begin with a draft: prompt, prefix and draft are read in one pass, and the draft is kept as far as it
 * would have been chosen.
 */
import type { Device } from '../../device/device.js';
import type { Sequence } from '../../engine/runtime.js';
import { mostChoices, prefillLength, type RuntimePrograms, sizeFor, verifyBatch, verifyTokens } from './programs.js';
import type { Search } from './search.js';

/** The result of the pass for one sequence. */
export interface Verified {
  sequence: Sequence<Search>;
  noSpeechProbability: number;
  startLogits?: Float32Array;
  /** Tokens of the draft that were kept. */
  accepted: number;
  /** The end token was chosen, or there is room for no more. */
  ended: boolean;
}

/** Few numbers of choices, so that few programs serve all. */
const choicesFor = (drafted: number): number => (drafted < 4 ? 4 : mostChoices);

/** Tokens of a draft that one pass can choose; the rest of it is decoded again. */
export const mostDrafted = mostChoices - 1;

const lengthOf = ({ search: { prompt, prefix = [] } }: Sequence<Search>): number => prompt.length + prefix.length;
const draftOf = ({ search: { draft = [] } }: Sequence<Search>): readonly number[] => draft.slice(0, mostDrafted);

/**
 * Reads and verifies sequences whose rows have been written. On a CPU each is read by itself, so that nothing of it
 * depends on its neighbours. Their scores are written, whether or not words are wanted, since the pass is for those who
 * want them.
 */
export async function verify(
  device: Device,
  programs: RuntimePrograms,
  sequences: readonly Sequence<Search>[],
): Promise<{ elapsed: number; verified: Verified[] }> {
  const { capacity } = programs.pool;
  const groups = new Map<string, Sequence<Search>[]>();
  for (const sequence of sequences) {
    const drafted = draftOf(sequence).length;
    const count = prefillLength(lengthOf(sequence) + drafted, capacity);
    const key = `${count} ${choicesFor(drafted)}`;
    groups.set(key, [...(groups.get(key) ?? []), sequence]);
  }
  let elapsed = 0;
  const verified: Verified[] = [];
  for (const [key, group] of groups) {
    const [count, choices] = key.split(' ').map(Number);
    const fitting = 2 ** Math.floor(Math.log2(verifyTokens(capacity) / count));
    const most = device.kind === 'cpu' ? 1 : Math.max(1, Math.min(verifyBatch, fitting, programs.pool.count));
    for (let at = 0; at < group.length; at += most) {
      const one = await pass(device, programs, group.slice(at, at + most), count, choices);
      elapsed += one.elapsed;
      verified.push(...one.verified);
    }
  }
  return { elapsed, verified };
}

async function pass(
  device: Device,
  programs: RuntimePrograms,
  sequences: readonly Sequence<Search>[],
  count: number,
  choices: number,
): Promise<{ elapsed: number; verified: Verified[] }> {
  const { pool } = programs;
  const { capacity } = pool;
  const batch = sizeFor(sequences.length, pool.count);
  const { rows, places, tokens, logits, noSpeech, program } = programs.verify(batch, count, choices);
  const vocabulary = logits.shape[1];
  const entries = new Int32Array(batch).fill(-1);
  const choosing = new Int32Array((choices + 1) * batch);
  // Padding sees no audio and gives out no scores.
  const [begins, counts, scoreRows, positions] = [-1, 0, -1, -1].map((none) =>
    new Int32Array(batch * count).fill(none),
  );
  sequences.forEach((sequence, i) => {
    const { slot, search } = sequence;
    const last = lengthOf(sequence) - 1;
    entries[i] = sequence.rows.first;
    for (let choice = 0; choice < choices; ++choice) choosing[choice * batch + i] = Math.min(last + choice, count - 1);
    choosing[choices * batch + i] = search.startIndex;
    for (let place = 0; place <= last + draftOf(sequence).length; ++place) {
      const at = i * count + place;
      begins[at] = slot.begin;
      counts[at] = slot.positions;
      if (place < search.prompt.length - 1) continue;
      scoreRows[at] = sequence.rows.first;
      positions[at] = place;
    }
  });
  const wanting = sequences.flatMap(({ search }, i) => (search.startLogits ? [i] : []));
  const [, { elapsed }, read] = await Promise.all([
    device.transfer({
      writes: [
        [rows, entries],
        [places, choosing],
        [tokens.begin, begins],
        [tokens.count, counts],
        [tokens.row, scoreRows],
        [tokens.position, positions],
      ],
    }),
    program.replay(),
    device.transfer({
      reads: [
        [noSpeech],
        ...sequences.map(({ rows: { first } }) => [pool.state.tokens, first * capacity, capacity] as const),
        ...sequences.map(({ rows: { first } }) => [pool.state.length, first, 1] as const),
        ...wanting.map((i) => [logits, i * vocabulary, vocabulary] as const),
      ],
    }),
  ]);
  const number = sequences.length;
  const results = sequences.map((sequence, i) => {
    const chosen = read[1 + i].subarray(lengthOf(sequence), read[1 + number + i][0]) as Int32Array;
    return acceptDraft(sequence, chosen, programs.endToken, {
      noSpeechProbability: read[0][i],
      startLogits: read[1 + 2 * number + wanting.indexOf(i)] as Float32Array | undefined,
    });
  });
  await device.transfer({ writes: results.flatMap(({ writes }) => writes(programs)) });
  return { elapsed, verified: results.map(({ verified }) => verified) };
}

/**
 * Returns the accepted length of the draft, and the state that its row is set to: the token behind the last accepted
 * one is read next.
 */
function acceptDraft(
  sequence: Sequence<Search>,
  chosen: Int32Array,
  endToken: number,
  told: Pick<Verified, 'noSpeechProbability' | 'startLogits'>,
) {
  const draft = draftOf(sequence);
  const { rows, search } = sequence;
  let accepted = 0;
  while (accepted < draft.length && accepted + 1 < chosen.length && chosen[accepted] === draft[accepted]) accepted += 1;
  const written = Math.min(accepted + 1, chosen.length);
  const length = lengthOf(sequence) + written;
  const ended = written === 0 || chosen[written - 1] === endToken || written >= search.maximum;
  const one = (value: number) => Int32Array.of(value);
  return {
    verified: { sequence, ...told, accepted, ended } satisfies Verified,
    writes: ({ pool: { state } }: RuntimePrograms) => [
      [state.length, one(length), rows.first] as const,
      [state.position, one(length - 1), rows.first] as const,
      [state.finished, one(Number(ended)), rows.first] as const,
    ],
  };
}
