/** Tables and plots of the generation experiment, with the figures of BigCode's benchmark. */
import type { ExperimentResult } from '../measuring/result.js';
import { type Chart, digits, duration, findRow, marked, mebibytes, panels, spread, type Table } from './figures.js';
import { intervalLayers, intervalNote, plotted } from './intervals.js';

/** Seconds on a Tesla V100-PCIE-16GB-LS, float32, from the source's log. */
const v100Seconds: Record<string, number> = { 'multi-query': 18.45, 'multi-query-1': 15.19, 'multi-head': 19.78 };

export function generateTables({ rows, settings }: ExperimentResult): Table[] {
  return [
    {
      title: `${settings.layers} layers, a prompt of ${settings.prompt} and ${settings.tokens} new tokens`,
      columns: [
        'variant',
        'batch',
        'time',
        'tokens per second',
        'time / multi-head',
        'cache, MiB',
        'parameters, millions',
        'time / multi-head, V100',
      ],
      rows: rows.map((row) => {
        const { variant, batch } = row.case;
        const base = findRow(rows, { ...row.case, variant: 'multi-head' })?.time;
        if (!row.time) return [String(variant), String(batch), row.note ?? '', '', '', '', '', ''];
        const source = v100Seconds[variant];
        return [
          String(variant),
          String(batch),
          spread(row.time),
          marked(row.time, digits(row.figures.tokensPerSecond)),
          base ? marked(row.time, digits(row.time.median / base.median)) : '',
          mebibytes(row.figures.cacheBytes),
          digits(row.figures.parameters / 1e6),
          source ? digits(source / v100Seconds['multi-head']) : '',
        ];
      }),
      note: `The source took ${Object.entries(v100Seconds)
        .map(([type, seconds]) => `${seconds} s (${type})`)
        .join(', ')} for 1024 tokens with 24 layers on a V100; compare only the ratios.`,
    },
  ];
}

export function generateCharts({ rows, settings }: ExperimentResult): Chart[] {
  const timed = rows.filter((row) => row.time);
  return [
    {
      name: 'generate',
      title: 'Time of generation',
      caption: `${settings.tokens} tokens after a prompt of ${settings.prompt}, ${settings.layers} layers. ${intervalNote}`,
      spec: panels(
        timed.map(({ case: { variant, batch }, time }) => ({
          panel: `batch ${batch}`,
          variant,
          ...plotted(time!, 1e6),
          label: marked(time!, duration(time!.median)),
        })),
        {
          width: 420,
          encoding: { y: { field: 'variant', type: 'nominal', title: null, sort: null } },
          layer: [
            ...intervalLayers(
              'x',
              { type: 'quantitative', title: 'time (s)' },
              { type: 'bar' },
              {
                color: { field: 'variant', type: 'nominal', sort: null, legend: null },
              },
            ),
            {
              mark: { type: 'text', align: 'left', dx: 4 },
              encoding: { x: { field: 'high', type: 'quantitative' }, text: { field: 'label' } },
            },
          ],
        },
        { columns: 1 },
      ),
    },
  ];
}
