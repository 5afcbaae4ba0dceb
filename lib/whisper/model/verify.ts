/**
 * Verification of drafts: one pass reads prompt, prefix and draft, and accepts the draft up to the first token that
 * decoding would not choose.
 */
import type { Device } from '../../device/device.js';
import type { ReadData } from '../../device/transfer.js';
import type { Sequence } from '../../engine/runtime.js';
import { handled } from './handled.js';
import { maximumChoices, prefillLength, type RuntimePrograms, sizeFor, verifyBatch, verifyTokens } from './programs.js';
import type { RowPool } from './rows.js';
import type { Candidate, Search } from './search.js';

/** The result of the pass for one sequence. */
export interface Verified {
  sequence: Sequence<Search>;
  noSpeechProbability: number;
  startLogits?: Float32Array;
  /** The number of accepted draft tokens. */
  accepted: number;
  /** The text, if the end token was chosen or the maximum number of tokens is reached. */
  text?: Candidate;
}

/** The number of tokens that a pass chooses. It has two values, so that few programs are recorded. */
const choicesFor = (draftLength: number): number => (draftLength < 4 ? 4 : maximumChoices);

/** The number of draft tokens that one pass can verify. Further ones are ignored. */
const maximumDraft = maximumChoices - 1;

const lengthOf = ({ search: { prompt, prefix = [] } }: Sequence<Search>): number => prompt.length + prefix.length;
const draftOf = ({ search: { draft = [] } }: Sequence<Search>): readonly number[] => draft.slice(0, maximumDraft);

/** The number of sequences of `count` tokens each that a pass verifies together: one on a CPU. */
function batchFor(count: number, { capacity, count: rows }: RowPool, device: Device): number {
  const fitting = 2 ** Math.floor(Math.log2(verifyTokens(capacity) / count));
  return device.kind === 'cpu' ? 1 : Math.max(1, Math.min(verifyBatch, fitting, rows));
}

/** Numbers of sequences, and of tokens of each: no pass needs more memory than the largest of these. */
export function largestVerifications(pool: RowPool, device: Device): [batch: number, count: number][] {
  const longest = verifyTokens(pool.capacity);
  const batches = device.kind === 'cpu' ? [1] : [1, 2, verifyBatch];
  const counts = batches.map((batch) => Math.min(pool.capacity, Math.floor(longest / batch)));
  return [...new Set(counts)].map((count) => [batchFor(count, pool, device), count]);
}

/**
 * Verifies the drafts of sequences whose state has been written. On a CPU each sequence has its own pass, so that its
 * result does not depend on the others. Cross-attention scores are stored even if `words` is not requested, since
 * most searches with a draft request it.
 */
export async function verify(
  device: Device,
  programs: RuntimePrograms,
  sequences: readonly Sequence<Search>[],
): Promise<{ elapsed: number; verified: Verified[] }> {
  const { capacity } = programs.pool;
  const groups = new Map<string, Sequence<Search>[]>();
  for (const sequence of sequences) {
    const draftLength = draftOf(sequence).length;
    const count = prefillLength(lengthOf(sequence) + draftLength, capacity);
    const key = `${count} ${choicesFor(draftLength)}`;
    groups.set(key, [...(groups.get(key) ?? []), sequence]);
  }
  let elapsed = 0;
  const verified: Verified[] = [];
  for (const [key, group] of groups) {
    const [count, choices] = key.split(' ').map(Number);
    const batch = batchFor(count, programs.pool, device);
    for (let begin = 0; begin < group.length; begin += batch) {
      const result = await verifyPass(device, programs, group.slice(begin, begin + batch), count, choices);
      elapsed += result.elapsed;
      verified.push(...result.verified);
    }
  }
  return { elapsed, verified };
}

/** Runs one pass over sequences that are padded to `count` tokens, and chooses up to `choices` tokens of each. */
async function verifyPass(
  device: Device,
  programs: RuntimePrograms,
  sequences: readonly Sequence<Search>[],
  count: number,
  choices: number,
): Promise<{ elapsed: number; verified: Verified[] }> {
  const { pool } = programs;
  const batch = sizeFor(sequences.length, pool.count);
  const { rows, outputs, tokens, logits, noSpeech, program } = programs.verify(batch, count, choices);
  const vocabulary = logits.shape[1];
  const entries = new Int32Array(batch).fill(-1);
  const outputPositions = new Int32Array((choices + 1) * batch);
  // Padding tokens attend to no audio and store no scores.
  const [begins, counts, scoreRows, positions] = [-1, 0, -1, -1].map((none) =>
    new Int32Array(batch * count).fill(none),
  );
  sequences.forEach((sequence, i) => {
    const { slot, search } = sequence;
    const last = lengthOf(sequence) - 1;
    entries[i] = sequence.rows.first;
    for (let choice = 0; choice < choices; ++choice) {
      outputPositions[choice * batch + i] = Math.min(last + choice, count - 1);
    }
    outputPositions[choices * batch + i] = search.startIndex;
    for (let position = 0; position <= last + draftOf(sequence).length; ++position) {
      const token = i * count + position;
      begins[token] = slot.begin;
      counts[token] = slot.positions;
      if (position < search.prompt.length - 1) continue;
      scoreRows[token] = sequence.rows.first;
      positions[token] = position;
    }
  });
  const withLogits = sequences.flatMap(({ search }, i) => (search.startLogits ? [i] : []));
  const [, { elapsed }, read] = await Promise.all([
    handled(
      device.transfer({
        writes: [
          [rows, entries],
          [outputs, outputPositions],
          [tokens.begin, begins],
          [tokens.count, counts],
          [tokens.row, scoreRows],
          [tokens.position, positions],
        ],
      }),
    ),
    handled(program.replay()),
    device.transfer({
      reads: [
        [noSpeech],
        ...sequences.flatMap(({ rows }) => pool.reads(rows)),
        ...withLogits.map((i) => [logits, i * vocabulary, vocabulary] as const),
      ],
    }),
  ]);
  const [silences, ...rest] = read;
  const width = pool.results.length;
  const startLogits = rest.slice(width * sequences.length);
  const results = sequences.map((sequence, i) => {
    return acceptDraft(sequence, rest.slice(width * i, width * (i + 1)), programs, {
      noSpeechProbability: silences[i],
      startLogits: startLogits[withLogits.indexOf(i)] as Float32Array | undefined,
    });
  });
  await device.transfer({ writes: results.flatMap(({ writes }) => writes) });
  return { elapsed, verified: results.map(({ verified }) => verified) };
}

/**
 * Returns the number of accepted draft tokens, and the writes that set the row's state, so that the next step reads the
 * token after the last accepted one. `data` is the row's state after the pass, by `RowPool.reads`.
 */
function acceptDraft(
  sequence: Sequence<Search>,
  data: readonly ReadData[],
  { pool, endToken }: RuntimePrograms,
  start: Pick<Verified, 'noSpeechProbability' | 'startLogits'>,
) {
  const draft = draftOf(sequence);
  const { rows, search } = sequence;
  const [tokens, logProbabilities, chosenLength, source] = data;
  const chosen = tokens.subarray(lengthOf(sequence), chosenLength[0]);
  let accepted = 0;
  while (accepted < draft.length && accepted + 1 < chosen.length && chosen[accepted] === draft[accepted]) accepted += 1;
  const written = Math.min(accepted + 1, chosen.length);
  const length = lengthOf(sequence) + written;
  const ended = written === 0 || chosen[written - 1] === endToken || written >= search.maximum;
  const accept: ReadData[] = [tokens, logProbabilities, Int32Array.of(length), source];
  const [text] = ended ? pool.candidates(sequence, accept, endToken) : [];
  return {
    verified: { sequence, ...start, accepted, ...(text && { text }) } satisfies Verified,
    writes: [
      [pool.state.length, Int32Array.of(length), rows.first] as const,
      [pool.state.position, Int32Array.of(length - 1), rows.first] as const,
      [pool.state.finished, Int32Array.of(Number(ended)), rows.first] as const,
    ],
  };
}
