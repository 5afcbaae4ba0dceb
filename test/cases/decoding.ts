/**
 * The choice of the next token under Whisper's rules, from random states. test/device has tests of single rules.
 */
import { Choices, type Family, type Make, type OperationCase, operationCase, within } from './case.js';
import { chosenToken, filteredLogits, type Sequences } from './decoding-reference.js';
import { textPositions, whisperShapes } from './shapes.js';

interface Rules {
  endToken: number;
  timestampBegin: number;
  timestampEnd: number;
  noTimestampsToken: number;
  maxInitialTimestamp: number;
}

/**
 * Sequences in the middle of decoding. Each fourth one is unusual: NaN, ties, nothing allowed, times far ahead.
 */
interface State {
  vocabulary: number;
  capacity: number;
  rules: Rules;
  suppressed: number[];
  tokens: number[];
  length: number[];
  begin: number[];
  minimum: number[];
  maximum: number[];
  timestamps: number[];
  finished: number[];
  /** The kind of each sequence's logits. */
  kinds: ('plain' | 'not numbers' | 'nothing' | 'ties' | 'times')[];
}

function randomState(from: Choices, batch: number, vocabulary: number, capacity: number): State {
  const each = <T>(value: () => T) => Array.from({ length: batch }, value);
  const timestampBegin = vocabulary - from.below(Math.floor(vocabulary / 2));
  const timestampEnd = vocabulary - (from.chance() ? from.below(vocabulary - timestampBegin + 1) : 0);
  const endToken = Math.floor((timestampBegin * 3) / 4);
  const begin = each(() => 1 + from.below(4));
  const token = () =>
    from.chance() ? from.below(timestampBegin) : Math.min(timestampBegin + from.below(8), vocabulary - 1);
  return {
    vocabulary,
    capacity,
    rules: {
      endToken,
      timestampBegin,
      timestampEnd,
      noTimestampsToken: Math.max(timestampBegin - 1, endToken + 1),
      maxInitialTimestamp: from.chance() ? from.below(9) : -1,
    },
    suppressed: Array.from({ length: vocabulary }, () => (from.below(8) ? 0 : from.below(4))),
    tokens: Array.from({ length: batch * capacity }, token),
    begin,
    length: begin.map((first) => first + from.below(capacity - first)),
    minimum: each(() => from.below(3)),
    maximum: each(() => 1 + from.below(9)),
    timestamps: each(() => Number(from.below(4) !== 0)),
    finished: each(() => Number(from.below(6) === 0)),
    kinds: each(() => from.of(['plain', 'plain', 'plain', 'plain', 'not numbers', 'nothing', 'ties', 'times'])),
  };
}

function nextToken(state: State, top: number, name: string): OperationCase {
  const { vocabulary, capacity, rules } = state;
  const batch = state.length.length;
  return operationCase({
    operation: 'nextToken',
    name,
    dtypes: ['float32'],
    operands(make: Make) {
      const random = make.random([batch, vocabulary], { size: 6 });
      const logits = () =>
        random.values.map((value, i) => {
          const kind = state.kinds[Math.floor(i / vocabulary)];
          if (kind === 'not numbers') return value > 2 ? Number.NaN : value;
          if (kind === 'nothing') return Number.NEGATIVE_INFINITY;
          if (kind === 'ties') return Math.round(value / 4);
          return kind === 'times' && i % vocabulary >= rules.timestampBegin ? value + 4 : value;
        });
      return {
        logits: state.kinds.every((kind) => kind === 'plain') ? random : make.floats([batch, vocabulary], logits),
        suppressed: make.bytes(state.suppressed),
        tokens: make.integers(state.tokens, [batch, capacity]),
        logProbability: make.zeros([batch, capacity]),
        length: make.integers(state.length),
        position: make.integers(state.length.map(() => 0)),
        begin: make.integers(state.begin),
        minimum: make.integers(state.minimum),
        maximum: make.integers(state.maximum),
        timestamps: make.integers(state.timestamps),
        finished: make.integers(state.finished),
        topTokens: top > 0 ? make.output([batch, capacity, top], 'int32') : undefined,
        topLogProbability: top > 0 ? make.zeros([batch, capacity, top]) : undefined,
      };
    },
    record: (ops, { logits, suppressed, ...sequences }) => ops.nextToken(logits, { ...rules, suppressed }, sequences),
    expected(values) {
      const sequences: Sequences = { vocabulary, capacity, ...rules, ...values };
      const [tokens, length, finished] = [values.tokens, values.length, values.finished].map((one) => one.slice());
      const logProbability = values.logProbability.slice();
      const topTokens = values.topTokens && Int32Array.from(values.topTokens);
      const topLogProbability = values.topLogProbability?.slice();
      for (let b = 0; b < batch; ++b) {
        if (finished[b]) continue;
        const choice = chosenToken(filteredLogits(sequences, b), rules.endToken, top);
        const at = b * capacity + length[b];
        tokens[at] = choice.token;
        logProbability[at] = choice.logProbability;
        topTokens?.set(
          choice.top.map(({ token }) => token),
          at * top,
        );
        topLogProbability?.set(
          choice.top.map((one) => one.logProbability),
          at * top,
        );
        length[b] += 1;
        const full = length[b] - values.begin[b] >= values.maximum[b] || length[b] === capacity;
        finished[b] = Number(choice.token === rules.endToken || full);
      }
      return {
        tokens: { values: tokens },
        logProbability: { values: logProbability, maximumError: 2e-5 },
        length: { values: length },
        position: { values: length.map((count) => count - 1) },
        finished: { values: finished },
        logits: { values: 'any' }, // a device may keep what the rules leave of them
        ...(topTokens && { topTokens: { values: topTokens } }),
        ...(topLogProbability && { topLogProbability: { values: topLogProbability, maximumError: 2e-5 } }),
      };
    },
    bytes: () => 4 * batch * vocabulary,
    operations: 4 * batch * vocabulary,
  });
}

function tokenProbability(batch: number, vocabulary: number, token: number, forbidden: boolean): OperationCase {
  return operationCase({
    operation: 'tokenProbability',
    name: `${batch} x ${vocabulary}, token ${token}${forbidden ? ', others forbidden' : ''}`,
    dtypes: ['float32'],
    operands(make: Make) {
      const random = make.random([batch, vocabulary], { size: 9 });
      const some = () =>
        random.values.map((value, i) => (i % vocabulary !== token && i % 7 === 0 ? Number.NEGATIVE_INFINITY : value));
      return {
        logits: forbidden ? make.floats([batch, vocabulary], some) : random,
        y: make.output([batch]),
      };
    },
    record: (ops, { logits, y }) => void ops.tokenProbability(logits, token, { output: y }),
    expected({ logits }) {
      const values = Array.from({ length: batch }, (_, b) => {
        const row = Array.from(logits.subarray(b * vocabulary, (b + 1) * vocabulary), Math.exp);
        return row[token] / row.reduce((a, b) => a + b, 0);
      });
      return { y: { values, tolerance: within(2e-6, 2e-6) } };
    },
    bytes: () => 4 * batch * vocabulary,
    operations: 4 * batch * vocabulary,
  });
}

/** Greedy decoding in the middle of a text. Timestamp rules are off, since they would soon end a random text. */
function timedState(batch: number, vocabulary: number): State {
  const each = (value: number) => Array<number>(batch).fill(value);
  const timestampBegin = vocabulary - 1501;
  return {
    vocabulary,
    capacity: textPositions,
    rules: {
      endToken: 50257,
      timestampBegin,
      timestampEnd: vocabulary,
      noTimestampsToken: timestampBegin - 1,
      maxInitialTimestamp: 50,
    },
    suppressed: Array<number>(vocabulary).fill(0),
    tokens: Array<number>(batch * textPositions).fill(11),
    begin: each(4),
    length: each(64),
    minimum: each(440),
    maximum: each(440),
    timestamps: each(0),
    finished: each(0),
    kinds: Array.from({ length: batch }, () => 'plain' as const),
  };
}

export const family: Family = {
  checked: [
    ...Array.from({ length: 250 }, (_, i) => {
      const from = new Choices(i);
      const [batch, vocabulary] = [1 + from.below(5), 16 + from.below(300)];
      const top = from.of([0, 0, 3]);
      const name = `state ${i}: ${batch} x ${vocabulary}${top > 0 ? `, the ${top} likeliest` : ''}`;
      return nextToken(randomState(from, batch, vocabulary, 12), top, name);
    }),
    nextToken(randomState(new Choices(9999), 3, 51865, 12), 0, "3 x Whisper's vocabulary"),
    ...[7, 40, 64, 384, 401, 3000].flatMap((vocabulary) =>
      [false, true].map((forbidden) => tokenProbability(3, vocabulary, Math.min(3, vocabulary - 1), forbidden)),
    ),
  ],
  timed: (batch) =>
    whisperShapes
      .filter(({ model }) => model !== 'base')
      .map(({ model, vocabulary }) =>
        nextToken(timedState(batch, vocabulary), 0, `${model}, batch ${batch}, vocabulary ${vocabulary}`),
      ),
};
