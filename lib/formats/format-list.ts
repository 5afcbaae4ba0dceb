/** The option that selects output formats. */
import { list, oneOf } from '../options/kinds.js';
import { formats } from './index.js';

const names = Object.keys(formats) as (keyof typeof formats)[];

/** One or more formats. On the command line, `txt` is another name of `text`, as in openai/whisper. */
export const formatList = list(
  oneOf(names, 'FORMAT', { txt: 'text' }),
  `${names.join(', ')}, or several of them separated by commas`,
  1,
);
