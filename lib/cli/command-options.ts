/** Options that only the command line has. */
import { formatList } from '../formats/format-list.js';
import { flag, list, number, oneOf, quoted, text } from '../options/kinds.js';
import { option, options } from '../options/options.js';
import { policies } from '../whisper/live/options.js';
import { dataTypes } from '../whisper/model/precision.js';

export const modelOptions = options('the model', {
  /**
   * Folder, file or hub name of a Whisper checkpoint; docs/models.md lists the forms.
   * @default the small bundled model, for trying
   */
  model: option(text('DIR|NAME', 'a folder, a file or a hub name', { notBlank: true }), {
    others: { openai: 'model', faster: 'model_size_or_path', cpp: '-m, --model' },
  }),
});

export const commandOptions = options('the command', {
  ...modelOptions.entries,
  /**
   * The output format: text, json, verbose_json, srt, vtt, tsv, csv, lrc or ass; several need `outputDir`.
   * @default 'text'
   */
  format: option(formatList, { default: ['text'], others: { openai: 'output_format' } }),
  /** Writes NAME.EXTENSION files into this folder, instead of printing. */
  outputDir: option(text('DIR', 'a folder', { notBlank: true }), { others: { openai: 'output_dir' } }),
  /**
   * Prints each segment as soon as it is decoded, for example from a microphone: arecord -t wav | onehead transcribe -
   * --stream. @default false
   */
  stream: option(flag(), { default: false }),
  /** Disables the progress bar. @default false */
  quiet: option(flag(), { default: false }),
});

const errorRateFormats = ['text', 'json'] as const;

export const evaluateOptions = options('evaluate', {
  ...modelOptions.entries,
  /** The normalization before comparing, as in openai/whisper: english, basic or none. @default 'english' */
  normalizer: option(oneOf(['english', 'basic', 'none']), { default: 'english' }),
  /**
   * Compares word times instead of texts with a reference: a file (Praat's TextGrid, CTM, JSON of gentle, pocketsphinx
   * or of {word, start, end}), or a folder with one for each recording.
   */
  words: option(text('REFERENCE', 'a file or a folder', { notBlank: true })),
  /** The tier of a TextGrid with the words. @default the one named words, or the only one */
  tier: option(text('NAME')),
  /** The format of the output: text or json. @default 'text' */
  format: option(oneOf(errorRateFormats, 'FORMAT'), { default: 'text' }),
  /**
   * Transcribes with several types, such as float32,bfloat16,int8, and compares error rates, word times with those of
   * the first type, and text on silence.
   */
  compare: option(list(oneOf(dataTypes, 'TYPE'), `types (${quoted(dataTypes)}) separated by commas`, 1)),
  /**
   * Transcribes each recording as a live stream, on a simulated clock, and reports delays and error rates: one line
   * for each combination of `policy`, `threshold`, `interval` and `window`. Of the decoding options only `language` is
   * used.
   * @default false
   */
  live: option(flag(), { default: false }),
  /**
   * With `live`: when text is confirmed: 'attention', 'agreement' or 'both'; several are compared.
   * @default the model's default
   */
  policy: option(
    list(oneOf(policies, 'POLICY'), "'attention', 'agreement' or 'both', or several of them separated by commas", 1),
  ),
  /** With `live`: seconds before the end of the audio in which attention confirms nothing. @default 0.5 */
  threshold: option(list(number(0, 10, { placeholder: 'SECONDS' }), 'numbers from 0 to 10 separated by commas', 1)),
  /** With `live`: seconds of new audio between decodings. @default 0.5 */
  interval: option(list(number(0.1, 10, { placeholder: 'SECONDS' }), 'numbers from 0.1 to 10 separated by commas', 1)),
  /** With `live`: maximum seconds of audio decoded together. @default 15 */
  window: option(list(number(4, 30, { placeholder: 'SECONDS' }), 'numbers from 4 to 30 separated by commas', 1)),
});

export const profileCommandOptions = options('onehead profile', {
  /** Writes results into this file, after each group of cases. */
  json: option(text('FILE', 'a file', { notBlank: true })),
  /** Continues with the results in the `json` file. @default false */
  resume: option(flag(), { default: false }),
  /** Writes the rows as a table. */
  csv: option(text('FILE', 'a file', { notBlank: true })),
  /** Writes report.html, report.md and SVG plots. */
  report: option(text('DIR', 'a folder', { notBlank: true })),
  /** Writes the operations of each program, for ui.perfetto.dev. */
  trace: option(text('FILE', 'a file', { notBlank: true })),
  /** Disables the progress bar. @default false */
  quiet: option(flag(), { default: false }),
});
