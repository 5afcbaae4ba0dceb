/** The formats for download. SRT and VTT are written by modules of the package, which the server provides. */
import { srt, vtt } from './formats/subtitles.js';

/** The media type of each format, and a function that writes a result. */
export const writers = {
  txt: [
    'text/plain',
    ({ text, segments = [] }) => `${segments.map((segment) => segment.text.trim()).join('\n') || text}\n`,
  ],
  srt: ['application/x-subrip', ({ segments = [] }) => srt({ segments })],
  vtt: ['text/vtt', ({ segments = [] }) => vtt({ segments })],
  json: ['application/json', (result) => `${JSON.stringify(result, null, 2)}\n`],
};
