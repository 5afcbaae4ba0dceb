/** What only the command line takes. */
import { formats } from '../formats/index.js';
import { flag, list, oneOf, text } from '../options/kinds.js';
import { option, options } from '../options/options.js';

const formatNames = Object.keys(formats) as (keyof typeof formats)[];

export const modelOptions = options('the model', {
  /** Folder or hub name of a Whisper checkpoint. @default the small bundled one, for trying */
  model: option(text('DIR|NAME'), { others: { openai: 'model', faster: 'model_size_or_path', cpp: '-m, --model' } }),
});

export const commandOptions = options('the command', {
  ...modelOptions.entries,
  /** What is printed or written: text, json, verbose_json, srt, vtt, tsv, csv, lrc or ass; several go to `outputDir`. @default 'text' */
  format: option(
    list(oneOf(formatNames, 'FORMAT'), `${formatNames.join(', ')}, or several of them with commas between`, 1),
    {
      default: ['text'],
      others: { openai: 'output_format' },
    },
  ),
  /** Folder that NAME.EXTENSION files are written to, instead of printing. */
  outputDir: option(text('DIR'), { others: { openai: 'output_dir' } }),
  /** Each segment is printed as soon as it is ready, a microphone's for example: arecord -t wav | onehead transcribe - --stream. @default false */
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
   * Compares words' times, not texts, with a reference: a file (Praat's TextGrid, CTM, JSON of gentle, pocketsphinx or of {word, start, end}),
   * or a folder that has one for each recording.
   */
  words: option(text('REFERENCE')),
  /** The tier of a TextGrid that holds the words. @default the one named words, or the only one */
  tier: option(text('NAME')),
  /** What is printed: text or json. @default 'text' */
  format: option(oneOf(errorRateFormats, 'FORMAT'), { default: 'text' }),
});
