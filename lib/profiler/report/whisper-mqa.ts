/** Tables and plots of the experiment on Whisper with multi-query attention. */
import type { ExperimentResult, ProfileRow } from '../measuring/result.js';
import { type Chart, digits, findRow, mebibytes, panels, pivot, spread, type Table } from './figures.js';
import { intervalLayers, intervalNote, plotted, plottedRatio } from './intervals.js';

const of = (rows: readonly ProfileRow[], stage: string) => rows.filter((row) => row.case.stage === stage);
const down = ['model', 'decoderLayers', 'batch'];

export function whisperMqaTables({ rows, settings }: ExperimentResult): Table[] {
  const total = of(rows, 'total');
  return [
    pivot(`Time of a batch: encoder and ${settings.tokens} tokens`, total, down, 'variant', ({ time }) =>
      spread(time!),
    ),
    pivot('Time of decoding', of(rows, 'decode'), down, 'variant', ({ time }) => spread(time!)),
    pivot(
      'Parameters, millions, and compression',
      total,
      down.slice(0, 2),
      'variant',
      ({ figures }) => `${digits(figures.parameters / 1e6)} (${figures.compression.toFixed(3)}×)`,
    ),
    pivot('Peak memory of the device, MiB', total, down, 'variant', ({ figures }) => mebibytes(figures.memoryBytes)),
  ];
}

export function whisperMqaCharts({ rows }: ExperimentResult): Chart[] {
  const timed = rows.filter((row) => row.time);
  const named = timed.map(({ case: { model, decoderLayers, batch, variant, stage }, time, figures }) => ({
    ...{ model, decoderLayers: Number(decoderLayers), batch, variant, stage },
    time: time!,
    ...plotted(time!),
    memory: (figures.memoryBytes ?? 0) / 2 ** 20,
    panel: `${model}, batch ${batch}`,
  }));
  const deepest = (model: string | number) =>
    Math.max(...named.filter((row) => row.model === model).map(({ decoderLayers }) => decoderLayers));
  const whole = named.filter(({ model, decoderLayers }) => decoderLayers === deepest(model));
  const total = named.filter(({ stage }) => stage === 'total');
  const speedups = whole
    .filter(({ stage }) => stage === 'decode')
    .flatMap((row) => {
      const { model, decoderLayers, batch } = row;
      const base = findRow(timed, { model, decoderLayers, batch, variant: 'multi-head', stage: 'decode' });
      const panel = `${model}, ${decoderLayers} decoder layers`;
      return base?.time ? [{ ...row, panel, ...plottedRatio(base.time, row.time) }] : [];
    });
  const color = { field: 'variant', type: 'nominal', title: 'variant', sort: null };
  const line = { type: 'line', point: true };
  return [
    {
      name: 'whisper-mqa-time',
      title: 'Time by decoder layers',
      caption: `Encoder and a fixed number of tokens of a batch, as in the source. ${intervalNote}`,
      spec: panels(
        total,
        {
          width: 300,
          height: 200,
          encoding: {
            x: { field: 'decoderLayers', type: 'ordinal', title: 'decoder layers', axis: { labelAngle: 0 } },
            color,
          },
          layer: intervalLayers('y', { type: 'quantitative', title: 'time (ms)', scale: { zero: true } }, line),
        },
        { independent: ['x', 'y'] },
      ),
    },
    {
      name: 'whisper-mqa-batch',
      title: 'Speed of decoding relative to multi-head, by batch',
      caption: `The time of multi-head divided by that of the variant, with all decoder layers: above 1, the variant is faster. ${intervalNote}`,
      spec: panels(speedups, {
        width: 300,
        height: 220,
        encoding: { x: { field: 'batch', type: 'ordinal', title: 'batch', axis: { labelAngle: 0 } }, color },
        layer: intervalLayers(
          'y',
          { type: 'quantitative', title: 'speedup over multi-head', scale: { zero: false } },
          line,
        ),
      }),
    },
    {
      name: 'whisper-mqa-memory',
      title: 'Memory',
      caption: 'Peak memory of the device with all decoder layers: weights, caches and temporaries.',
      spec: panels(
        whole.filter(({ stage }) => stage === 'total'),
        {
          width: 300,
          mark: 'bar',
          encoding: {
            y: { field: 'variant', type: 'nominal', title: null, sort: null },
            x: { field: 'memory', type: 'quantitative', title: 'memory (MiB)' },
            color: { ...color, legend: null },
          },
        },
        { independent: ['x'] },
      ),
    },
  ];
}
