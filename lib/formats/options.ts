/** The options of output formats. */
import { flag, integer, list, text } from '../options/kinds.js';
import { type Checked, type Given, option, options } from '../options/options.js';

export const formatOptions = options('formats', {
  /**
   * Characters of a line of srt, vtt, lrc and ass at most; languages without blanks are cut between characters.
   * @default no limit
   */
  maxLineWidth: option(integer(1), { others: { openai: 'max_line_width', cpp: '-ml, --max-len' } }),
  /**
   * Lines shown at once at most; with `maxLineWidth`, cues may then run over the ends of segments. @default no limit
   */
  maxLineCount: option(integer(1), { others: { openai: 'max_line_count' } }),
  /** Words of a line at most. @default no limit */
  maxWordsPerLine: option(integer(1), { others: { openai: 'max_words_per_line' } }),
  /** Each word is marked while it is said; needs words. @default false */
  highlightWords: option(flag(), {
    default: false,
    others: { openai: 'highlight_words', cpp: '-owts, --output-words' },
  }),
  /** Wide characters, such as Chinese ones, count as two of `maxLineWidth`. @default false */
  countWide: option(flag(), { default: false }),
  /**
   * The speakers' names from channel 0 on, where channels were transcribed apart; nothing is written for ''. @default
   * 'Channel N'
   */
  channelNames: option(list(text('NAME'), 'a list of texts')),
});

export interface FormatOptions extends Given<typeof formatOptions> {}
/** As formats are written with; what is left out is off. */
export type CheckedFormatOptions = Partial<Checked<typeof formatOptions>>;
