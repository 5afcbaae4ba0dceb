/** Writes a report: one HTML page that needs no network, Markdown, and each chart as an SVG. */

import { join } from 'node:path';
import { OneheadError, reasonOf } from '../errors.js';
import { makeFolder } from '../make-folder.js';
import { writeWhole } from '../whole-file.js';
import { type ExperimentName, experiments } from './experiments/index.js';
import { requirePath } from './io-model/arguments.js';
import type { ExperimentResult } from './measuring/result.js';
import { requireResults } from './measuring/result.js';
import { type Chart, describeRun, type Table, toMarkdown } from './report/figures.js';
import { comparisonWithBase, warningsOf } from './report/findings.js';
import { namesTable } from './report/names.js';
import { escaped, toSvg } from './report/render.js';

interface Section {
  name: string;
  title: string;
  about: string;
  run: string;
  settings: string;
  warnings: string[];
  tables: Table[];
  charts: (Chart & { svg: string })[];
}

function settingsLine(settings: Record<string, unknown>): string {
  const write = (value: unknown) =>
    Array.isArray(value) ? value.join(', ') : JSON.stringify(value).replaceAll('"', '');
  return Object.entries(settings)
    .filter(([name]) => name !== 'shapes')
    .map(([name, value]) => `${name}: ${write(value)}`)
    .join('; ');
}

/** Replaces long reasons of refused cases in a table by (1), (2), ..., which the note then explains. */
function withFootnotes(table: Table, reasons: ReadonlySet<string>): Table {
  const found = [...new Set(table.rows.flat().filter((cell) => reasons.has(cell)))];
  if (found.length === 0) return table;
  const rows = table.rows.map((row) => row.map((cell) => (reasons.has(cell) ? `(${found.indexOf(cell) + 1})` : cell)));
  const notes = found.map((reason, i) => `(${i + 1}) ${reason}`);
  return { ...table, rows, note: [...(table.note ? [table.note] : []), ...notes].join(' ') };
}

/** All tables of a result: the comparison with the base variant, then the experiment's own. */
export function tablesOf(result: ExperimentResult): Table[] {
  const { compared, tables } = experiments[result.experiment as ExperimentName];
  const comparison = comparisonWithBase(result.rows, compared);
  const reasons = new Set(result.rows.flatMap(({ note }) => (note ? [note] : [])));
  return [...(comparison ? [comparison] : []), ...tables(result)].map((table) => withFootnotes(table, reasons));
}

async function section(result: ExperimentResult): Promise<Section> {
  if (!Object.hasOwn(experiments, result.experiment)) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `This version of onehead has no experiment '${result.experiment}'; use the version that measured these results.`,
    );
  }
  const experiment = experiments[result.experiment as ExperimentName];
  const charts = [];
  for (const chart of experiment.charts(result)) charts.push({ ...chart, svg: await toSvg(chart) });
  return {
    name: experiment.name,
    title: result.complete ? experiment.title : `${experiment.title} (not finished)`,
    about: experiment.about,
    run: describeRun(result),
    settings: settingsLine(result.settings),
    warnings: warningsOf(result),
    tables: tablesOf(result),
    charts,
  };
}

function htmlTable({ title, columns, rows, note }: Table): string {
  const numeric = columns.map((_, i) => rows.every((row) => /^([\d<>±~(-]|$)/.test(row[i])));
  const cell = (tag: string) => (text: string, i: number) =>
    `<${tag}${numeric[i] ? ' class="number"' : ''}>${escaped(text)}</${tag}>`;
  const line = (tag: string, cells: string[]) => `<tr>${cells.map(cell(tag)).join('')}</tr>`;
  return `<h3>${escaped(title)}</h3><div class="wide"><table><thead>${line('th', columns)}</thead><tbody>
${rows.map((row) => line('td', row)).join('\n')}
</tbody></table></div>${note ? `<p class="note">${escaped(note)}</p>` : ''}`;
}

/** Prefixes the ids of an SVG, because all charts are inlined in one page. */
const uniqueIds = (svg: string, name: string): string =>
  svg.replace(/\bid="/g, `id="${name}-`).replaceAll('url(#', `url(#${name}-`);

const style = `body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem}h2{margin-top:3rem;border-top:1px solid #ccc;padding-top:1.5rem}h3{font-size:1rem;margin:2rem 0 .5rem}
table{border-collapse:collapse;font-size:.85rem}th,td{padding:.25rem .7rem;border-bottom:1px solid #e6e6e6;text-align:left;white-space:nowrap}
th{border-bottom:2px solid #999}.number{text-align:right;font-variant-numeric:tabular-nums}.wide{overflow-x:auto}
figure{margin:1.5rem 0}figure svg{max-width:100%;height:auto}figcaption,.note{color:#555;font-size:.9rem}.run{color:#555}
.warning{border-left:4px solid #d55e00;background:#fdf1e7;padding:.5rem .8rem}nav a{margin-right:1rem}`;

function toHtml(sections: readonly Section[], names: Table): string {
  const body = sections.map(
    ({
      name,
      title,
      about,
      run,
      settings,
      warnings,
      tables,
      charts,
    }) => `<section id="${name}"><h2>${escaped(title)}</h2>
<p>${escaped(about)}</p><p class="run">${escaped(run)}<br>${escaped(settings)}</p>
${warnings.map((text) => `<p class="warning">${escaped(text)}</p>`).join('\n')}
${charts.map(({ name: chart, svg, caption }) => `<figure>${uniqueIds(svg, chart)}<figcaption>${escaped(caption)}</figcaption></figure>`).join('\n')}
${tables.map(htmlTable).join('\n')}</section>`,
  );
  const links = [...sections, { name: 'names', title: 'Names' }].map(
    ({ name, title }) => `<a href="#${name}">${escaped(title)}</a>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>onehead profile</title><style>${style}</style></head>
<body><h1>onehead profile</h1><nav>${links.join('')}</nav>
${body.join('\n')}
<section id="names"><h2>Names</h2>${htmlTable({ ...names, title: 'Variants, stages and operations' })}</section></body></html>
`;
}

function toMarkdownReport(sections: readonly Section[], names: Table): string {
  const parts = sections.map(({ title, about, run, settings, warnings, tables, charts }) =>
    [
      `## ${title}`,
      about,
      `${run}  \n${settings}`,
      ...warnings.map((text) => `> **Warning:** ${text}`),
      ...charts.map(({ name, title: alt, caption }) => `![${alt}](${name}.svg)\n\n${caption}`),
      ...tables.map(toMarkdown),
    ].join('\n\n'),
  );
  return `# onehead profile\n\n${[...parts, `## Names\n\n${toMarkdown(names)}`].join('\n')}`;
}

/**
 * Writes report.html, report.md and the charts to a folder, and returns their paths. Throws OneheadError
 * INVALID_ARGUMENT for an unknown experiment or a folder that cannot be written to.
 */
export async function writeReport(directory: string, results: readonly ExperimentResult[]): Promise<string[]> {
  requirePath('directory', directory);
  requireResults(results);
  const sections: Section[] = [];
  for (const result of results) if (result.rows.length > 0) sections.push(await section(result));
  const names = namesTable(results);
  const files = new Map<string, string>([
    ['report.html', toHtml(sections, names)],
    ['report.md', toMarkdownReport(sections, names)],
    ...sections.flatMap(({ charts }) => charts.map(({ name, svg }): [string, string] => [`${name}.svg`, svg])),
  ]);
  try {
    makeFolder(directory);
    for (const [name, text] of files) await writeWhole(join(directory, name), text);
  } catch (cause) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `Cannot write the report to ${directory}: ${reasonOf(cause)}; name another folder.`,
      { cause },
    );
  }
  return [...files.keys()].map((name) => join(directory, name));
}
