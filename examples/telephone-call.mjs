/**
 * A telephone call with a speaker on each channel: both are transcribed side by side, and subtitles name who speaks.
 *
 *     node examples/telephone-call.mjs > call.vtt
 */
import { formats, Whisper } from 'onehead';

const whisper = await Whisper.load('openai/whisper-small');
const call = await whisper.transcribe('call.wav', { channels: 'separate' }); // segments in order of time, each with its channel
console.log(formats.vtt.write(call, { channelNames: ['Agent', 'Customer'] })); // <v Agent>Good morning.
whisper.dispose();
