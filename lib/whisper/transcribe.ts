/** A whole recording to OpenAI's verbose_json. */
import type { AudioSource } from '../audio/index.js';
import { Job, type Timings } from './job.js';
import type { WhisperModel } from './model.js';
import { sequential } from './sequential.js';
import type { Segment, TranscribeOptions, Transcription } from './types.js';

export async function transcribe(
  model: WhisperModel,
  source: AudioSource,
  options: TranscribeOptions = {},
): Promise<Transcription & { timings: Timings }> {
  const job = await Job.open(model, options);
  const segments: Segment[] = [];
  for await (const { segments: added, processed } of sequential(job, source)) {
    segments.push(...added);
    options.onProgress?.({ processed, total: source.duration, segments: added });
  }
  return {
    task: job.settings.task,
    language: job.settings.language ?? 'en',
    duration: job.duration,
    text: segments.map(({ text }) => text).join(''),
    segments,
    timings: job.timings,
  };
}
