/**
 * The first program: a recording's text, and when each segment was said.
 *
 *     node examples/transcribe.mjs
 */
import { Whisper } from 'onehead';

const whisper = await Whisper.load('openai/whisper-small'); // downloaded at first; on a GPU where there is one, else on the CPU
const { text, segments } = await whisper.transcribe('talk.mp3');
console.log(text);
for (const { start, end, text } of segments) console.log(start, end, text);
whisper.dispose();
