/** Tables and plots of the experiment on the cross-attention cache. */
import type { ExperimentResult } from '../measuring/result.js';
import { type Chart, digits, marked, mebibytes, panels, pivot, spread, type Table } from './figures.js';
import { intervalLayers, intervalNote, plottedRate } from './intervals.js';

export function crossCacheTables({ rows, settings }: ExperimentResult): Table[] {
  const of = (stage: string) => rows.filter((row) => row.case.stage === stage);
  const down = ['model', 'batch'];
  return [
    pivot('Tokens per second, decode steps only', of('step'), down, 'variant', ({ time, figures }) =>
      marked(time!, digits(figures.tokensPerSecond)),
    ),
    pivot('Time of a decode step', of('step'), down, 'variant', ({ time }) => spread(time!)),
    pivot(
      `Time of a window of ${settings.tokens} tokens, including projection and prompt`,
      of('window'),
      down,
      'variant',
      ({ time }) => spread(time!),
    ),
    pivot('Memory traffic of a decode step by the I/O model, MiB', of('step'), down, 'variant', ({ figures }) =>
      mebibytes(figures.bytes),
    ),
    pivot('Arithmetic of a decode step by the I/O model, gigaoperations', of('step'), down, 'variant', ({ figures }) =>
      digits(figures.operations / 1e9),
    ),
  ];
}

export function crossCacheCharts({ rows }: ExperimentResult): Chart[] {
  const steps = rows.filter((row) => row.time && row.case.stage === 'step');
  const variant = { field: 'variant', type: 'nominal', sort: null };
  return [
    {
      name: 'cross-cache',
      title: 'Tokens per second by the source of the audio’s keys and values',
      caption:
        'Logarithmic axis. Cached: read from the cache. Copied: each step first copies the cache. Recomputed: each step projects them again. ' +
        intervalNote,
      spec: panels(
        steps.map(({ case: { model, batch, variant }, time, figures: { tokensPerSecond } }) => ({
          panel: `${model}, batch ${batch}`,
          variant,
          ...plottedRate(tokensPerSecond * time!.median, time!),
          label: marked(time!, digits(tokensPerSecond)),
        })),
        {
          width: 260,
          height: 240,
          encoding: { x: { ...variant, title: null, axis: { labelAngle: 0 } } },
          layer: [
            ...intervalLayers(
              'y',
              { type: 'quantitative', title: 'tokens per second', scale: { type: 'log', domainMin: 1 } },
              { type: 'bar' },
              { y2: { datum: 1 }, color: { ...variant, legend: null } },
            ),
            {
              mark: { type: 'text', dy: -8 },
              encoding: { y: { field: 'high', type: 'quantitative' }, text: { field: 'label' } },
            },
          ],
        },
      ),
    },
  ];
}
