/** Tables and plots of the I/O experiment: predicted and measured times of a decode step. */
import type { ExperimentResult, ProfileRow } from '../measuring/result.js';
import { isNoisy } from '../measuring/statistics.js';
import { type Chart, digits, duration, marked, mebibytes, panels, spread, type Table, valuesOf } from './figures.js';
import { intervalLayers, intervalNote, plotted } from './intervals.js';

const whole = 'whole step';
const percent = (share: number) => `${(100 * share).toFixed(0)}%`;

function stepTable(rows: readonly ProfileRow[], model: string | number, batch: string | number): Table {
  return {
    title: `${model}, batch ${batch}: a decode step`,
    columns: ['variant', 'operation', 'MiB', 'megaoperations', 'floor', 'measured', 'floor / measured', 'GB/s'],
    rows: rows
      .filter((row) => row.case.model === model && row.case.batch === batch)
      .map(({ case: { variant, operation }, time, figures, note }) => {
        if (!time) return [String(variant), String(operation), '', '', '', note ?? '', '', ''];
        return [
          String(variant),
          String(operation),
          mebibytes(figures.bytes),
          digits(figures.operations / 1e6),
          duration(figures.floorMicroseconds),
          spread(time),
          marked(time, percent(figures.shareOfFloor)),
          marked(time, digits(figures.gigabytesPerSecond)),
        ];
      }),
  };
}

export function ioTables({ rows, facts }: ExperimentResult): Table[] {
  const pairs = valuesOf(rows, 'model').flatMap((model) =>
    valuesOf(rows, 'batch').map((batch) => [model, batch] as const),
  );
  return [
    {
      title: 'Measured ceilings of this device',
      columns: ['ceiling', 'figure'],
      rows: [
        ['bandwidth', `${digits(facts.bytesPerSecond / 1e9)} GB/s`],
        ['matrix products', `${digits(facts.operationsPerSecond / 1e9)} gigaoperations/s`],
      ],
      note: 'Floors count weights and caches, not activations. More than 100% of the floor is possible if weights stay in the processor’s caches between steps.',
    },
    ...pairs.map(([model, batch]) => stepTable(rows, model, batch)),
  ];
}

/** The roofline: bandwidth multiplied by intensity, up to the multiply rate. */
function roof(facts: Record<string, number>, intensities: readonly number[]) {
  const { bytesPerSecond, operationsPerSecond } = facts;
  const ridge = operationsPerSecond / bytesPerSecond;
  const from = Math.min(...intensities, 0.5) / 1.5;
  const to = Math.max(...intensities, ridge) * 3;
  return [from, ridge, to].map((intensity) => ({
    intensity,
    rate: Math.min(intensity * bytesPerSecond, operationsPerSecond) / 1e9,
  }));
}

function rooflineChart({ rows, facts }: ExperimentResult): Chart {
  const points = rows
    .filter(({ time, case: { operation }, figures }) => {
      return time && operation !== whole && figures.operations > 0 && figures.bytes > 0;
    })
    .map(({ case: { model, batch, variant, operation }, time, figures }) => ({
      panel: `${model}, batch ${batch}`,
      ...{ variant: isNoisy(time!) ? 'too noisy' : variant, operation },
      intensity: figures.operations / figures.bytes,
      rate: figures.gigaoperationsPerSecond,
    }));
  const intensities = points.map(({ intensity }) => intensity);
  const log = { type: 'quantitative', scale: { type: 'log', nice: false } };
  return {
    name: 'io-roofline',
    title: 'Roofline: every operation of a decode step',
    caption:
      'Each point is one operation, summed over the layers; the line is this device’s measured bandwidth and multiply rate. Points above the slope read from the processor’s caches. Crosses are too noisy to be compared.',
    spec: panels(
      [...new Set(points.map(({ panel }) => panel))].flatMap((panel) => [
        ...roof(facts, intensities).map((point) => ({ panel, roof: true, ...point })),
        ...points.filter((point) => point.panel === panel).map((point) => ({ roof: false, ...point })),
      ]),
      {
        width: 330,
        height: 260,
        encoding: {
          x: { field: 'intensity', ...log, title: 'operations per byte of weights and caches' },
          y: { field: 'rate', ...log, title: 'gigaoperations per second' },
        },
        layer: [
          { transform: [{ filter: 'datum.roof' }], mark: { type: 'line', color: '#444', strokeWidth: 1.5 } },
          {
            transform: [{ filter: '!datum.roof' }],
            mark: { type: 'point', filled: false, strokeWidth: 2, size: 70, opacity: 1 },
            encoding: {
              color: {
                ...{ field: 'operation', type: 'nominal', title: 'operation' },
                sort: [...new Set(points.map(({ operation }) => operation))],
              },
              shape: {
                ...{ field: 'variant', type: 'nominal', title: 'variant', sort: null },
                scale: {
                  domain: ['multi-head', 'multi-query', 'too noisy'],
                  range: ['circle', 'triangle-up', 'cross'],
                },
              },
            },
          },
        ],
      },
    ),
  };
}

function stepsChart({ rows }: ExperimentResult): Chart {
  const steps = rows
    .filter((row) => row.time && row.case.operation === whole)
    .flatMap(({ case: { model, batch, variant }, time, figures }) => {
      const common = { panel: `${model}, batch ${batch}`, variant };
      const floor = figures.floorMicroseconds / 1000;
      return [
        { ...common, kind: 'floor', value: floor, low: floor, high: floor, noisy: false },
        { ...common, kind: 'measured', ...plotted(time!) },
      ];
    });
  return {
    name: 'io-steps',
    title: 'A decode step: floor and measured time',
    caption:
      'The floor is the sum over the operations of the time for their bytes at the measured bandwidth or for their arithmetic at the multiply rate, whichever is longer. ' +
      intervalNote,
    spec: panels(
      steps,
      {
        width: 220,
        height: 160,
        encoding: {
          x: { field: 'variant', type: 'nominal', title: null, sort: null, axis: { labelAngle: 0 } },
          xOffset: { field: 'kind', sort: null },
        },
        layer: intervalLayers(
          'y',
          { type: 'quantitative', title: 'time (ms)' },
          { type: 'bar' },
          { color: { field: 'kind', type: 'nominal', title: null, sort: null } },
        ),
      },
      { columns: 4, independent: ['y'] },
    ),
  };
}

export const ioCharts = (result: ExperimentResult): Chart[] => [rooflineChart(result), stepsChart(result)];
