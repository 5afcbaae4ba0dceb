/** How the experiment on multi-query Whispers is shown. */
import type { ExperimentResult, ProfileRow } from '../result.js';
import { type Chart, digits, findRow, mebibytes, pivot, spread, type Table } from './figures.js';

const of = (rows: readonly ProfileRow[], stage: string) => rows.filter((row) => row.case.stage === stage);
const down = ['model', 'decoderLayers', 'batch'];

export function whisperMqaTables({ rows, settings }: ExperimentResult): Table[] {
  const total = of(rows, 'total');
  return [
    pivot(`Time of a batch: encoder and ${settings.tokens} tokens`, total, down, 'variant', ({ time }) =>
      spread(time!),
    ),
    pivot('Decoding alone', of(rows, 'decode'), down, 'variant', ({ time }) => spread(time!)),
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

const color = { field: 'variant', type: 'nominal', title: 'key/value heads', sort: null };

export function whisperMqaCharts({ rows }: ExperimentResult): Chart[] {
  const timed = rows.filter((row) => row.time);
  const total = of(timed, 'total').map((row) => ({
    ...row.case,
    milliseconds: row.time!.median / 1000,
    memory: row.figures.memoryBytes / 2 ** 20,
  }));
  const speedups = of(timed, 'decode').flatMap((row) => {
    const base = findRow(timed, { ...row.case, variant: 'multi-head' });
    return base?.time ? [{ ...row.case, speedup: base.time.median / row.time!.median }] : [];
  });
  const batch = { field: 'batch', type: 'ordinal', title: 'batch' };
  const model = { field: 'model', type: 'nominal', title: 'model', sort: null };
  return [
    {
      name: 'whisper-mqa-time',
      title: 'Time by decoder layers',
      caption: 'Encoder and forced tokens of a batch, as the source measures it.',
      spec: {
        data: { values: total },
        facet: { row: batch, column: model },
        resolve: { scale: { x: 'independent', y: 'independent' } },
        spec: {
          width: 260,
          height: 180,
          mark: { type: 'line', point: true },
          encoding: {
            x: { field: 'decoderLayers', type: 'ordinal', title: 'decoder layers', axis: { labelAngle: 0 } },
            y: { field: 'milliseconds', type: 'quantitative', title: 'time (ms)', scale: { zero: true } },
            color,
          },
        },
      },
    },
    {
      name: 'whisper-mqa-batch',
      title: 'Where multi-query attention wins: decoding, by batch',
      caption:
        'Multi-head’s time over each variant’s, full decoders: above 1 is faster. The more sequences share the weights, the more of a step’s bytes are keys and values of the audio.',
      spec: {
        data: { values: speedups },
        transform: [
          { joinaggregate: [{ op: 'max', field: 'decoderLayers', as: 'full' }], groupby: ['model'] },
          { filter: 'datum.decoderLayers === datum.full' },
        ],
        facet: { column: model },
        spec: {
          width: 260,
          height: 220,
          layer: [
            { mark: { type: 'rule', strokeDash: [4, 4], color: '#888' }, encoding: { y: { datum: 1 } } },
            {
              mark: { type: 'line', point: true },
              encoding: {
                x: { ...batch, axis: { labelAngle: 0 } },
                y: {
                  field: 'speedup',
                  type: 'quantitative',
                  title: 'times as fast as multi-head',
                  scale: { zero: false },
                },
                color,
              },
            },
          ],
        },
      },
    },
    {
      name: 'whisper-mqa-memory',
      title: 'Memory',
      caption: 'Peak of the device’s memory with the full decoder: weights, caches and temporaries.',
      spec: {
        data: { values: total },
        transform: [
          { joinaggregate: [{ op: 'max', field: 'decoderLayers', as: 'full' }], groupby: ['model'] },
          { filter: 'datum.decoderLayers === datum.full' },
        ],
        facet: { row: batch, column: model },
        resolve: { scale: { y: 'independent' } },
        spec: {
          width: 260,
          height: 180,
          mark: 'bar',
          encoding: {
            x: { field: 'variant', type: 'nominal', title: null, sort: null, axis: { labelAngle: -30 } },
            y: { field: 'memory', type: 'quantitative', title: 'memory (MiB)' },
            color: { ...color, legend: null },
          },
        },
      },
    },
  ];
}
