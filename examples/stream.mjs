/**
 * Segments of a stream as they are decoded: here from standard input, in any format.
 *
 *     arecord -t wav | node examples/stream.mjs
 *     curl https://radio.example/stream.mp3 | node examples/stream.mjs
 */
import { Whisper } from 'onehead';

const whisper = await Whisper.load('openai/whisper-small');
for await (const { start, end, text } of whisper.stream(process.stdin, { wordTimestamps: true })) {
  console.log(start, end, text);
}
whisper.dispose();
