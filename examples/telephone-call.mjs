/**
 * A telephone call with one speaker on each channel: both are transcribed, and the subtitles name the speaker.
 *
 *     node examples/telephone-call.mjs > call.vtt
 */
import { formats, Whisper } from 'onehead';

const whisper = await Whisper.load('openai/whisper-small');
const call = await whisper.transcribe('call.wav', { channels: 'separate' }); // segments sorted by time, each with its channel
console.log(formats.vtt.write(call, { channelNames: ['Agent', 'Customer'] })); // <v Agent>Good morning.
whisper.dispose();
