/** Tables and plots of the comparison of attention types, with the figures of BigCode's benchmark. */
import type { ExperimentResult, ProfileRow } from '../measuring/result.js';
import { v100Lengths, v100Microseconds, v100Stages } from '../measuring/v100.js';
import { type Chart, duration, findRow, marked, panels, pivot, spread, type Table, valuesOf } from './figures.js';
import { intervalLayers, intervalNote, type Plotted, plotted, plottedRatio } from './intervals.js';

const stages = ['query, key, value', 'split', 'scores', 'softmax', 'values', 'attention'];

const totals = (rows: readonly ProfileRow[]) => rows.filter((row) => row.case.stage === 'total');

/** Each type's time divided by that of multi-head, here and on the source's GPU. */
function shares({ rows }: ExperimentResult) {
  const data: ({ panel: string; variant: string; length: number } & Plotted)[] = [];
  for (const row of totals(rows)) {
    const { batch, length, variant } = row.case as { batch: number; length: number; variant: string };
    const base = findRow(rows, { batch, length, variant: 'multi-head', stage: 'total' });
    if (row.time && base?.time) {
      data.push({ panel: `here, batch ${batch}`, variant, length, ...plottedRatio(row.time, base.time) });
    }
  }
  const sum = (times: readonly number[]) => times.reduce((a, b) => a + b, 0);
  for (const [variant, batches] of Object.entries(v100Microseconds)) {
    for (const [batch, lengths] of Object.entries(batches)) {
      lengths.forEach((times, i) => {
        const value = sum(times) / sum(v100Microseconds['multi-head'][Number(batch)][i]);
        const single = { value, low: value, high: value, noisy: false };
        data.push({ panel: `the source’s V100, batch ${batch}`, variant, length: v100Lengths[i], ...single });
      });
    }
  }
  return data;
}

/** Four lengths at most, to keep the plot readable: the first, the last, and two in between. */
function someLengths(rows: readonly ProfileRow[]): (string | number)[] {
  const lengths = valuesOf(rows, 'length');
  const last = lengths.length - 1;
  return [...new Set([0, last / 3, (2 * last) / 3, last].map((at) => lengths[Math.round(at)]))];
}

export function attentionTypesTables(result: ExperimentResult): Table[] {
  const { rows } = result;
  const last = Number(valuesOf(rows, 'length').at(-1));
  const order = (row: ProfileRow) => [...stages, 'total'].indexOf(String(row.case.stage));
  const longest = rows.filter((row) => row.case.length === last).sort((a, b) => order(a) - order(b));
  return [
    pivot('Time of a call', totals(rows), ['batch', 'length'], 'variant', ({ time }) => spread(time!)),
    pivot(`Stages at length ${last}`, longest, ['batch', 'stage'], 'variant', ({ time }) =>
      marked(time!, duration(time!.median)),
    ),
    {
      title: 'Figures of the source: Tesla V100, float32, microseconds of GPU time',
      columns: ['variant', 'batch', 'length', ...v100Stages, 'total'],
      rows: Object.entries(v100Microseconds).flatMap(([type, batches]) =>
        Object.entries(batches).flatMap(([batch, lengths]) =>
          lengths.flatMap((times, i) =>
            [0, 7, 15].includes(i)
              ? [[type, batch, String(v100Lengths[i]), ...times.map(String), String(times.reduce((a, b) => a + b))]]
              : [],
          ),
        ),
      ),
      note: 'Measured on another machine, without softmax: compare only the shapes of the curves. Three of sixteen lengths are shown.',
    },
  ];
}

export function attentionTypesCharts(result: ExperimentResult): Chart[] {
  const { rows } = result;
  const data = rows.flatMap(({ case: { batch, length, variant, stage }, time }) =>
    time ? [{ batch, length, variant, stage, ...plotted(time) }] : [],
  );
  const color = { field: 'variant', type: 'nominal', title: 'variant', sort: null };
  const line = { type: 'line', point: true };
  const kept = someLengths(rows);
  const shared = shares(result);
  return [
    {
      name: 'attention-types-time',
      title: 'Time by length',
      caption: `Whole calls: the projection of queries, keys and values, and attention. Both axes are logarithmic. ${intervalNote}`,
      spec: panels(
        data.filter(({ stage }) => stage === 'total').map((row) => ({ ...row, panel: `batch ${row.batch}` })),
        {
          width: 380,
          height: 280,
          encoding: {
            x: { field: 'length', type: 'quantitative', scale: { type: 'log', nice: false }, title: 'positions' },
            color,
          },
          layer: intervalLayers(
            'y',
            { type: 'quantitative', scale: { type: 'log', nice: false }, title: 'time (ms)' },
            line,
          ),
        },
      ),
    },
    {
      name: 'attention-types-stages',
      title: 'Time by stage',
      caption:
        'Stages are stacked. “Attention” is the single pass of the memory-efficient kernel, which has no stages; the other variants store the scores between their stages. Medians only; the previous plot shows the spread of whole calls.',
      spec: panels(
        data
          .filter(({ stage, length }) => stage !== 'total' && kept.includes(length))
          .map((row) => ({
            ...row,
            panel: `batch ${row.batch}, ${row.length} positions`,
            order: stages.indexOf(String(row.stage)),
          })),
        {
          width: 330,
          mark: 'bar',
          encoding: {
            y: { field: 'variant', type: 'nominal', title: null, sort: null },
            x: { field: 'value', type: 'quantitative', title: 'time (ms)', stack: 'zero' },
            color: { field: 'stage', type: 'nominal', title: 'stage', scale: { domain: stages } },
            order: { field: 'order', type: 'quantitative' },
          },
        },
        { independent: ['x'] },
      ),
    },
    {
      name: 'attention-types-shape',
      title: 'Time divided by that of multi-head',
      caption:
        'On this machine and on the source’s V100, each relative to multi-head on the same machine. Compare only the shapes of the curves: ' +
        `the source’s variants have no softmax. ${intervalNote}`,
      spec: panels(
        shared,
        {
          width: 280,
          height: 200,
          encoding: { x: { field: 'length', type: 'quantitative', title: 'positions' }, color },
          layer: intervalLayers('y', { type: 'quantitative', title: 'time / multi-head' }, line),
        },
        // With one batch here, it and the source's two batches are side by side.
        { columns: new Set(shared.map(({ panel }) => panel)).size === 3 ? 3 : 2 },
      ),
    },
  ];
}
