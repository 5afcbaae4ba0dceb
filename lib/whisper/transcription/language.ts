/** The language of a recording, from its first windows. */
import { likeliestLanguage } from '../checkpoint/languages.js';
import type { PeakMeter } from './peak.js';
import type { SampleWindow } from './samples.js';
import type { TranscriptionState } from './state.js';

/**
 * Detects the language from the first windows and sets it. Probabilities are averaged over the windows until one
 * language exceeds the threshold. Returns the averages, or null if nothing was detected: the language is set or is
 * detected for each window, the model has only one, or there is no audio.
 */
export async function detectFirst(
  job: TranscriptionState,
  samples: SampleWindow,
  meter: PeakMeter,
): Promise<Map<string, number> | null> {
  const { model, options, settings } = job;
  const { generation, preprocessor } = model.checkpoint;
  if (settings.language !== null || job.languages || !generation.multilingual || generation.languages.size === 0) {
    return null;
  }
  const { languageDetectionWindows: windows, languageDetectionThreshold: threshold } = options;
  const { samples: length, fftSize, hop } = preprocessor;
  const average = new Map<string, number>();
  for (let index = 0; index < windows; ++index) {
    const begin = index * length;
    await samples.readTo(begin + length + fftSize);
    if (samples.end <= begin) break;
    await meter.measure(options.signal);
    const probabilities = await model.buffers.use((window) => {
      samples.fill(window, begin - fftSize / 2);
      const frames = Math.floor(Math.min(length, samples.end - begin) / hop / 2);
      return model.windowLanguages(job.request, { samples: window, peak: meter.peak }, { ...settings, frames });
    });
    for (const [code, probability] of probabilities) {
      average.set(code, ((average.get(code) ?? 0) * index + probability) / (index + 1));
    }
    if (likeliestLanguage(average)[1] > threshold) break;
  }
  if (average.size === 0) return null;
  job.setLanguage(likeliestLanguage(average)[0]);
  return average;
}
