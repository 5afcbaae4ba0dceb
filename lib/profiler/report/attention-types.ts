/** How the comparison of attention types is shown, the source's own figures beside it. */
import { v100Lengths, v100Microseconds, v100Stages } from '../experiments/v100.js';
import type { ExperimentResult, ProfileRow } from '../result.js';
import { type Chart, duration, findRow, pivot, spread, type Table, valuesOf } from './figures.js';

const stages = ['query, key, value', 'split', 'scores', 'softmax', 'output', 'attention'];

const totals = (rows: readonly ProfileRow[]) => rows.filter((row) => row.case.stage === 'total');

/** Each type's time as a share of multi-head's, here and on the source's GPU. */
function shares({ rows }: ExperimentResult) {
  const data: { where: string; type: string; length: number; batch: number; share: number }[] = [];
  for (const row of totals(rows)) {
    const { batch, length, variant } = row.case as { batch: number; length: number; variant: string };
    const base = findRow(rows, { batch, length, variant: 'multi-head', stage: 'total' });
    if (row.time && base?.time) {
      data.push({ where: 'here', type: variant, length, batch, share: row.time.median / base.time.median });
    }
  }
  const sum = (times: readonly number[]) => times.reduce((a, b) => a + b, 0);
  for (const [type, batches] of Object.entries(v100Microseconds)) {
    for (const [batch, lengths] of Object.entries(batches)) {
      lengths.forEach((times, i) => {
        const share = sum(times) / sum(v100Microseconds['multi-head'][Number(batch)][i]);
        data.push({ where: 'V100 (BigCode)', type, length: v100Lengths[i], batch: Number(batch), share });
      });
    }
  }
  return data;
}

export function attentionTypesTables(result: ExperimentResult): Table[] {
  const { rows } = result;
  const last = Number(valuesOf(rows, 'length').at(-1));
  const longest = rows.filter((row) => row.case.length === last);
  return [
    pivot('Time of a call', totals(rows), ['batch', 'length'], 'variant', ({ time }) => spread(time!)),
    pivot(`Stages at length ${last}`, longest, ['batch', 'stage'], 'variant', ({ time }) => duration(time!.median)),
    {
      title: "The source's figures: Tesla V100, float32, microseconds of GPU time",
      columns: ['type', 'batch', 'length', ...v100Stages, 'total'],
      rows: Object.entries(v100Microseconds).flatMap(([type, batches]) =>
        Object.entries(batches).flatMap(([batch, lengths]) =>
          lengths.flatMap((times, i) =>
            [0, 7, 15].includes(i)
              ? [[type, batch, String(v100Lengths[i]), ...times.map(String), String(times.reduce((a, b) => a + b))]]
              : [],
          ),
        ),
      ),
      note: 'Another machine, without softmax: to be compared in shape only. Three of sixteen lengths are shown.',
    },
  ];
}

export function attentionTypesCharts(result: ExperimentResult): Chart[] {
  const { rows } = result;
  const timed = rows.filter((row) => row.time);
  const data = timed.map((row) => ({ ...row.case, milliseconds: row.time!.median / 1000 }));
  const color = { field: 'variant', type: 'nominal', title: 'attention type' };
  return [
    {
      name: 'attention-types-time',
      title: 'Time by length',
      caption: 'Whole calls: projection of queries, keys and values, and attention. Both axes logarithmic.',
      spec: {
        data: { values: data.filter((row) => 'stage' in row && row.stage === 'total') },
        facet: { column: { field: 'batch', type: 'ordinal', title: 'batch' } },
        spec: {
          width: 330,
          height: 260,
          mark: { type: 'line', point: true },
          encoding: {
            x: { field: 'length', type: 'quantitative', scale: { type: 'log', nice: false }, title: 'positions' },
            y: { field: 'milliseconds', type: 'quantitative', scale: { type: 'log' }, title: 'time (ms)' },
            color,
          },
        },
      },
    },
    {
      name: 'attention-types-stages',
      title: 'Where the time goes',
      caption:
        'Stages stacked. “Attention” is the streaming kernel’s one pass, which has no stages; the source’s types keep the scores in memory between them.',
      spec: {
        data: { values: data.filter((row) => 'stage' in row && row.stage !== 'total') },
        facet: {
          row: { field: 'batch', type: 'ordinal', title: 'batch' },
          column: { field: 'length', type: 'ordinal', title: 'positions' },
        },
        resolve: { scale: { y: 'independent' } },
        spec: {
          width: 110,
          height: 190,
          mark: 'bar',
          encoding: {
            x: {
              field: 'variant',
              type: 'nominal',
              title: null,
              sort: null,
              axis: { labelAngle: -45 },
            },
            y: { field: 'milliseconds', type: 'quantitative', title: 'time (ms)', stack: 'zero' },
            color: { field: 'stage', type: 'nominal', sort: stages, scale: { domain: stages } },
            order: { field: 'stage', sort: 'ascending' },
          },
        },
      },
    },
    {
      name: 'attention-types-shape',
      title: 'The same shape as the source’s?',
      caption:
        'Each type’s time as a share of multi-head’s on the same machine: this one, and the source’s V100. Only the curves can be compared, not the speeds.',
      spec: {
        data: { values: shares(result) },
        facet: {
          column: { field: 'where', type: 'nominal', title: null, sort: ['here', 'V100 (BigCode)'] },
          row: { field: 'batch', type: 'ordinal', title: 'batch' },
        },
        spec: {
          width: 330,
          height: 200,
          mark: { type: 'line', point: true },
          encoding: {
            x: { field: 'length', type: 'quantitative', title: 'positions' },
            y: { field: 'share', type: 'quantitative', title: 'time / multi-head' },
            color: { ...color, field: 'type' },
          },
        },
      },
    },
  ];
}
