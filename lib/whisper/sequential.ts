/** Long audio, one window after the other: they seek along the recording by the timestamps that the model writes, as openai/whisper does. */
import type { AudioSource } from '../audio/index.js';
import { OneheadError } from '../errors.js';
import { TextContext } from './context.js';
import { isSkipped } from './fallback.js';
import { type Job, type Outcome, round } from './job.js';
import { PeakMeter } from './peak.js';
import { SampleWindow } from './samples.js';
import { splitWindow, type WindowSegment } from './segments.js';
import type { Segment } from './types.js';

/**
 * Seconds that are read ahead of the window, to know the loudest sound that features are measured against: the reference knows the
 * whole recording. Ten minutes are 38 MB; a longer recording is measured against what was heard up to ten minutes ahead.
 */
const lookAheadSeconds = 600;

/** Yields what each window gave. Timings of reading the audio include waiting for a stream. */
export async function* sequential(job: Job, source: AudioSource): AsyncGenerator<Outcome> {
  const { model, options, settings } = job;
  const { config, generation, preprocessor } = model.checkpoint;
  const { sampleRate, hop, fftSize, frames: windowFrames } = preprocessor;
  const { signal } = options;
  const context = new TextContext(options, job.tokenizer, config.targetPositions, config.vocabulary);
  const samples = new SampleWindow(source);
  const meter = new PeakMeter(model, samples);

  for (let seek = 0; ; ) {
    signal?.throwIfAborted();
    const begin = seek * hop;
    const reading = performance.now();
    await samples.readTo(begin + lookAheadSeconds * sampleRate);
    job.duration = round(samples.end / sampleRate);
    const measuring = performance.now();
    await meter.measure(signal);
    job.spend({ audio: measuring - reading, features: performance.now() - measuring });
    const frames = Math.min(windowFrames, Math.floor((samples.end - begin) / hop));
    if (samples.end === 0) {
      throw new OneheadError('AUDIO_INVALID', 'The audio contains no samples; give a recording with sound in it.');
    }
    // The reference counts whole frames too, but a recording shorter than one frame still gets its window.
    if (frames < 1 && seek > 0) return;

    const fill = (into: Float32Array) => samples.fill(into, begin - fftSize / 2);
    const request = { ...context.next(), seed: seek };
    const { generations, timings } = await model.transcribeWindows(fill, [meter.peak], [request], settings, {
      signal,
    });
    job.spend(timings);
    const [attempt] = generations;
    settings.language ??= attempt.language;

    let segments: Segment[] = [];
    let advance = Math.max(1, frames);
    if (!isSkipped(attempt, settings.decoding)) {
      const whole: WindowSegment = { start: 0, end: (frames * hop) / sampleRate, tokens: attempt.tokens };
      const split =
        settings.timestamps === 'segment'
          ? splitWindow(attempt.tokens, Math.max(1, frames), generation)
          : { segments: [whole], advance };
      segments = job.segments(seek, split.segments, attempt);
      advance = split.advance;
      context.add(
        segments.flatMap(({ tokens }) => tokens),
        attempt.temperature,
      );
    }
    seek += advance;
    samples.drop(seek * hop - fftSize);
    yield { segments, processed: round(Math.min(seek * hop, samples.end) / sampleRate) };
    if (samples.ended && seek * hop + hop > samples.end) return;
  }
}
