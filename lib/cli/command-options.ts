/** Options of the command line alone. */
import { formats } from '../formats/index.js';
import { flag, list, number, oneOf, quoted, text } from '../options/kinds.js';
import { option, options } from '../options/options.js';
import { policies } from '../whisper/live/options.js';
import { dataTypes } from '../whisper/model/precision.js';

const formatNames = Object.keys(formats) as (keyof typeof formats)[];

export const modelOptions = options('the model', {
  /**
   * Folder, file or hub name of a Whisper checkpoint; docs/models.md lists the forms. @default the small bundled one,
   * for trying
   */
  model: option(text('DIR|NAME'), { others: { openai: 'model', faster: 'model_size_or_path', cpp: '-m, --model' } }),
});

export const commandOptions = options('the command', {
  ...modelOptions.entries,
  /**
   * The format that is printed or written: text, json, verbose_json, srt, vtt, tsv, csv, lrc or ass; several go to
   * `outputDir`.
   * @default 'text'
   */
  format: option(
    list(oneOf(formatNames, 'FORMAT'), `${formatNames.join(', ')}, or several of them with commas between`, 1),
    {
      default: ['text'],
      others: { openai: 'output_format' },
    },
  ),
  /** Folder that NAME.EXTENSION files are written to, instead of printing. */
  outputDir: option(text('DIR'), { others: { openai: 'output_dir' } }),
  /**
   * Each segment is printed as soon as it is ready, a microphone's for example: arecord -t wav | onehead transcribe -
   * --stream. @default false
   */
  stream: option(flag(), { default: false }),
  /** No progress bar. @default false */
  quiet: option(flag(), { default: false }),
});

const errorRateFormats = ['text', 'json'] as const;

export const evaluateOptions = options('evaluate', {
  ...modelOptions.entries,
  /** openai/whisper's rules for what counts as the same: english, basic or none. @default 'english' */
  normalizer: option(oneOf(['english', 'basic', 'none']), { default: 'english' }),
  /**
   * Compares words' times, not texts, with a reference: a file (Praat's TextGrid, CTM, JSON of gentle, pocketsphinx or
   * of {word, start, end}), or a folder that has one for each recording.
   */
  words: option(text('REFERENCE')),
  /** The tier of a TextGrid that holds the words. @default the one named words, or the only one */
  tier: option(text('NAME')),
  /** The format of the output: text or json. @default 'text' */
  format: option(oneOf(errorRateFormats, 'FORMAT'), { default: 'text' }),
  /**
   * Transcribes in several types one after the other, such as float32,bfloat16,int8: error rates, how far words move
   * from where the first type has them, and whether silence stays silent.
   */
  compare: option(list(oneOf(dataTypes, 'TYPE'), `types (${quoted(dataTypes)}) with commas between`, 1)),
  /**
   * Each recording is heard as it was spoken, on a simulated clock, and delays stand beside the error rate: a line for
   * each combination of `policy`, `threshold`, `interval` and `window`. Of decoding only `language` counts then.
   * @default false
   */
  live: option(flag(), { default: false }),
  /**
   * With `live`: when text is confirmed, 'attention', 'agreement' or 'both'; several are compared. @default the model's
   * own
   */
  policy: option(
    list(oneOf(policies, 'POLICY'), "'attention', 'agreement' or 'both', or several of them with commas between", 1),
  ),
  /** With `live`: seconds before the end of what was heard in which attention confirms nothing. @default 0.5 */
  threshold: option(list(number(0, 10, { placeholder: 'SECONDS' }), 'numbers from 0 to 10 with commas between', 1)),
  /** With `live`: seconds of new audio after which it is decoded. @default 0.5 */
  interval: option(list(number(0.1, 10, { placeholder: 'SECONDS' }), 'numbers from 0.1 to 10 with commas between', 1)),
  /** With `live`: seconds of audio that are decoded together. @default 15 */
  window: option(list(number(4, 30, { placeholder: 'SECONDS' }), 'numbers from 4 to 30 with commas between', 1)),
});
