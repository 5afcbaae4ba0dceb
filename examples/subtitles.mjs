/**
 * Writes subtitles next to each recording, with short lines that break between words.
 *
 *     node examples/subtitles.mjs talk.mp3 interview.m4a
 */
import { writeFile } from 'node:fs/promises';
import { parse } from 'node:path';
import { formats, Whisper } from 'onehead';

const whisper = await Whisper.load('openai/whisper-small');
await Promise.all(
  process.argv.slice(2).map(async (file) => {
    // The concurrent calls share the model.
    const result = await whisper.transcribe(file, { wordTimestamps: true });
    const { dir, name } = parse(file);
    const subtitles = formats.srt.write(result, { maxLineWidth: 42, maxLineCount: 2 });
    await writeFile(`${dir || '.'}/${name}.srt`, subtitles);
    for (const warning of result.warnings) console.error(`${file}: ${warning}`);
  }),
);
whisper.dispose();
