/** The options of output formats. */
import { flag, integer, list, text } from '../options/kinds.js';
import { type Checked, type Given, option, options } from '../options/options.js';

export const formatOptions = options('formats', {
  /**
   * Maximum characters of a line in srt, vtt, lrc and ass; languages without spaces are cut between characters.
   * @default no limit
   */
  maxLineWidth: option(integer(1), { others: { openai: 'max_line_width', cpp: '-ml, --max-len' } }),
  /** Maximum lines shown at once; with `maxLineWidth`, cues may then span several segments. @default no limit */
  maxLineCount: option(integer(1), { others: { openai: 'max_line_count' } }),
  /** Maximum words of a line. @default no limit */
  maxWordsPerLine: option(integer(1), { others: { openai: 'max_words_per_line' } }),
  /** Highlights each word while it is spoken; needs word times. @default false */
  highlightWords: option(flag(), {
    default: false,
    others: { openai: 'highlight_words', cpp: '-owts, --output-words' },
  }),
  /** Wide characters, such as Chinese ones, count as two towards `maxLineWidth`. @default false */
  countWide: option(flag(), { default: false }),
  /**
   * The speakers' names from channel 0 on, if channels were transcribed separately; an empty name is omitted.
   * @default 'Channel N'
   */
  channelNames: option(list(text('NAME'), 'a list of strings')),
});

export interface FormatOptions extends Given<typeof formatOptions> {}
/** Checked options; missing ones are off. */
export type CheckedFormatOptions = Partial<Checked<typeof formatOptions>>;
