/**
 * Computes word error rates of recordings; the arguments are pairs of a recording and a file with its text.
 *
 *     node examples/evaluate.mjs talk.mp3 talk.txt interview.m4a interview.txt
 */
import { readFile } from 'node:fs/promises';
import { errorRate, normalizeEnglish, textErrors, Whisper } from 'onehead';

const whisper = await Whisper.load('openai/whisper-small');
const files = process.argv.slice(2);
for (let i = 0; i < files.length; i += 2) {
  const reference = await readFile(files[i + 1], 'utf8');
  const { text } = await whisper.transcribe(files[i], { language: 'en' });
  const { words } = textErrors(normalizeEnglish(reference), normalizeEnglish(text));
  console.log(`${files[i]}: ${(100 * errorRate(words)).toFixed(1)}% word error rate`, words);
}
whisper.dispose();
