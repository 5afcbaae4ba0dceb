/**
 * Prints the text of a recording, and its segments with their times.
 *
 *     node examples/transcribe.mjs
 */
import { Whisper } from 'onehead';

const whisper = await Whisper.load('openai/whisper-small'); // downloaded once; on a GPU if there is one, otherwise on the CPU
const { text, segments } = await whisper.transcribe('talk.mp3');
console.log(text);
for (const { start, end, text } of segments) console.log(start, end, text);
whisper.dispose();
