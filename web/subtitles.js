/** A transcript as files to download. SRT and VTT come from the package's own formats, which the server serves. */
import { srt, vtt } from './formats/subtitles.js';

/** Each format's media type, and the function that writes a transcription. */
export const writers = {
  txt: ['text/plain', ({ text, segments = [] }) => `${segments.map((one) => one.text.trim()).join('\n') || text}\n`],
  srt: ['application/x-subrip', ({ segments = [] }) => srt({ segments })],
  vtt: ['text/vtt', ({ segments = [] }) => vtt({ segments })],
  json: ['application/json', (result) => `${JSON.stringify(result, null, 2)}\n`],
};
