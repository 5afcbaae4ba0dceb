/** Draws charts as SVG with Vega-Lite, without a browser. Vega-Lite is loaded on first use. */
import { OneheadError } from '../../errors.js';
import type { Chart } from './figures.js';

const font = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

/** The palette of Okabe and Ito, distinguishable with any colour vision, and three more colours. */
const colors = [
  '#0072b2',
  '#d55e00',
  '#009e73',
  '#cc79a7',
  '#e69f00',
  '#56b4e9',
  '#7f7f7f',
  '#000000',
  '#8c564b',
  '#bcbd22',
];

const theme = {
  background: 'white',
  font,
  padding: 12,
  title: { fontSize: 15, anchor: 'start', offset: 14 },
  axis: {
    labelFontSize: 11,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    gridColor: '#e6e6e6',
    labelOverlap: true,
    labelLimit: 260,
  },
  header: { labelFontSize: 12, labelFontWeight: 'bold', labelAnchor: 'start' },
  legend: { labelFontSize: 11, titleFontSize: 12, titleFontWeight: 'normal', labelLimit: 400 },
  facet: { spacing: 28 },
  range: { category: colors },
  view: { stroke: '#ccc' },
  line: { strokeWidth: 2 },
  point: { size: 45, filled: true },
  bar: { discreteBandSize: { band: 0.85 } },
};

async function load() {
  try {
    const [vega, vegaLite] = await Promise.all([import('vega'), import('vega-lite')]);
    return { vega, vegaLite };
  } catch (cause) {
    throw new OneheadError(
      'NOT_SUPPORTED',
      'Reports need Vega-Lite, which is not installed; run `npm install vega vega-lite`, then write the report from the results with `onehead profile report`.',
      { cause },
    );
  }
}

/** Throws OneheadError NOT_SUPPORTED, which says what to install, if Vega-Lite is missing. */
export async function ensureRenderer(): Promise<void> {
  await load();
}

/** Escapes text for XML and HTML. */
export const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** Draws a chart as a standalone SVG document. */
export async function toSvg({ title, spec }: Chart): Promise<string> {
  const { vega, vegaLite } = await load();
  const complete = { $schema: 'https://vega.github.io/schema/vega-lite/v6.json', title, config: theme, ...spec };
  // Warnings are suppressed: they concern charts without data, which an unfinished run may have.
  const { spec: compiled } = vegaLite.compile(complete as unknown as Parameters<typeof vegaLite.compile>[0], {
    logger: vega.logger(vega.Error),
  });
  const view = new vega.View(vega.parse(compiled), { renderer: 'none' });
  try {
    // The title is read aloud by screen readers.
    return (await view.toSVG()).replace(/^<svg [^>]*>/, (tag) => `${tag}<title>${escaped(title)}</title>`);
  } finally {
    view.finalize();
  }
}
