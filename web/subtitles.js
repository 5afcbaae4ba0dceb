/** A transcript as files to take away. */

function clock(seconds, separator) {
  const milliseconds = Math.round(seconds * 1000);
  const part = (size, of, digits) => String(Math.floor(milliseconds / size) % of).padStart(digits, '0');
  return `${part(3_600_000, 1e9, 2)}:${part(60_000, 60, 2)}:${part(1000, 60, 2)}${separator}${part(1, 1000, 3)}`;
}

// An empty line, or one that looks like the sign between two times, would end the cue.
const cueText = (text) =>
  text
    .trim()
    .replace(/\s*\n\s*/g, '\n')
    .replaceAll('-->', '->');

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** What `transcribe` gave, in each format: its type, and how it is written. */
export const writers = {
  txt: ['text/plain', ({ text, segments = [] }) => `${segments.map((one) => one.text.trim()).join('\n') || text}\n`],
  srt: [
    'application/x-subrip',
    ({ segments = [] }) =>
      segments
        .map(({ start, end, text }, i) => `${i + 1}\n${clock(start, ',')} --> ${clock(end, ',')}\n${cueText(text)}\n`)
        .join('\n'),
  ],
  vtt: [
    'text/vtt',
    ({ segments = [] }) =>
      `WEBVTT\n${segments.map(({ start, end, text }) => `\n${clock(start, '.')} --> ${clock(end, '.')}\n${escaped(cueText(text))}\n`).join('')}`,
  ],
  json: ['application/json', (result) => `${JSON.stringify(result, null, 2)}\n`],
};
