/** Tables and plots of the experiment on Whisper with memory-efficient attention. */
import type { ExperimentResult } from '../measuring/result.js';
import { type Chart, mebibytes, panels, pivot, spread, type Table } from './figures.js';
import { intervalLayers, intervalNote, plotted } from './intervals.js';

export function whisperFlashTables({ rows }: ExperimentResult): Table[] {
  const of = (stage: string) => rows.filter((row) => row.case.stage === stage);
  const down = ['model', 'decoderLayers', 'batch', 'tokens'];
  return [
    pivot('Time of a batch: encoder and decoding', of('total'), down, 'variant', ({ time }) => spread(time!)),
    pivot('Encoder', of('encode'), down, 'variant', ({ time }) => spread(time!)),
    pivot('Decoding', of('decode'), down, 'variant', ({ time }) => spread(time!)),
    pivot('Peak memory of the device, MiB', of('total'), down, 'variant', ({ figures }) =>
      mebibytes(figures.memoryBytes),
    ),
  ];
}

export function whisperFlashCharts({ rows }: ExperimentResult): Chart[] {
  const data = rows.flatMap(({ case: { model, decoderLayers, batch, tokens, variant, stage }, time, figures }) => {
    if (!time) return [];
    const [label, panel] = [`${model} (${decoderLayers})`, `batch ${batch}, ${tokens} tokens`];
    const figure = { ...plotted(time), memory: (figures.memoryBytes ?? 0) / 2 ** 20 };
    return [{ label, panel, variant, stage, ...figure }];
  });
  const color = { field: 'variant', type: 'nominal', title: 'variant', sort: null };
  const bars = (drawn: Record<string, unknown>, of: string) =>
    panels(
      data.filter(({ stage }) => stage === of),
      {
        width: { step: 26 },
        height: 240,
        ...drawn,
        encoding: {
          x: {
            ...{ field: 'label', type: 'nominal', title: 'model (decoder layers)', sort: null },
            axis: { labelAngle: 0 },
          },
          xOffset: { field: 'variant', sort: null },
          ...(drawn.encoding as Record<string, unknown>),
        },
      },
      { columns: 1, independent: ['y'] },
    );
  const time = { layer: intervalLayers('y', { type: 'quantitative', title: 'time (ms)' }, { type: 'bar' }, { color }) };
  const memory = { field: 'memory', type: 'quantitative', title: 'memory (MiB)' };
  return [
    {
      name: 'whisper-flash-time',
      title: 'Time of a batch',
      caption: `Encoder and a fixed number of tokens, in the two settings of the source. ${intervalNote}`,
      spec: bars(time, 'total'),
    },
    {
      name: 'whisper-flash-decode',
      title: 'Time of decoding',
      caption: `A decode step has one query row for each sequence. The memory-efficient kernel is made for many rows; auto uses split-kv. ${intervalNote}`,
      spec: bars(time, 'decode'),
    },
    {
      name: 'whisper-flash-memory',
      title: 'Memory',
      caption: 'Peak memory of the device. Multi-head stores a score for every pair of positions, one layer at a time.',
      spec: bars({ mark: 'bar', encoding: { y: memory, color } }, 'total'),
    },
  ];
}
