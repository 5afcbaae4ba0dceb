/**
 * Prints segments of a stream in any format as soon as they are decoded; here the stream is standard input.
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
