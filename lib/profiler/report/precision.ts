/** Tables and plots of decode steps in a floating-point type and in 8 bits. */
import type { ExperimentResult } from '../measuring/result.js';
import { type Chart, digits, duration, findRow, marked, mebibytes, panels, spread, type Table } from './figures.js';
import { intervalLayers, intervalNote, plotted } from './intervals.js';

const [plain, columns] = [
  'floating',
  ['model', 'batch', 'in 8 bits', 'weights, MiB', 'caches, MiB', 'floor', 'measured', 'time / floating', 'predicted'],
];

export function precisionTables({ rows }: ExperimentResult): Table[] {
  const crossovers = new Map(
    rows.filter(({ time }) => time).map((row) => [row.case.model, row.figures.crossoverBatch]),
  );
  return [
    {
      title: 'Time of a decode step',
      columns,
      rows: rows.map(({ case: { model, batch, variant }, time, figures, note }) => {
        const head = [String(model), String(batch), variant === plain ? 'nothing' : String(variant)];
        if (!time) return [...head, note ?? '', '', '', '', '', ''];
        const base = findRow(rows, { model, batch, variant: plain })?.time;
        return [
          ...head,
          mebibytes(figures.weightBytes),
          mebibytes(figures.cacheBytes),
          duration(figures.floorMicroseconds),
          spread(time),
          base ? marked(time, digits(time.median / base.median)) : '',
          digits(figures.predictedRatio),
        ];
      }),
      ...(crossovers.size > 0 && {
        note: `8 bits save more bytes in the caches than in the weights from this batch on: ${[...crossovers]
          .map(([model, batch]) => `${digits(batch)} (${model})`)
          .join(', ')}.`,
      }),
    },
  ];
}

export function precisionCharts({ rows }: ExperimentResult): Chart[] {
  const timed = rows.filter((row) => row.time);
  return [
    {
      name: 'precision',
      title: 'A decode step in 8 bits',
      caption: `The time of a step by what is stored in 8 bits. ${intervalNote}`,
      spec: panels(
        timed.map(({ case: { model, batch, variant }, time }) => ({
          panel: `${model}, batch ${batch}`,
          variant,
          ...plotted(time!),
        })),
        {
          width: 300,
          encoding: { y: { field: 'variant', type: 'nominal', title: null, sort: null } },
          layer: intervalLayers(
            'x',
            { type: 'quantitative', title: 'time (ms)' },
            { type: 'bar' },
            { color: { field: 'variant', type: 'nominal', sort: null, legend: null } },
          ),
        },
        { independent: ['x'] },
      ),
    },
  ];
}
