/** After a rehearsal, usual requests record no program, so the first one is as fast as the next. */
import { expect, it, vi } from 'vitest';
import { Device } from '../../lib/device/device.js';
import { WhisperRuntime } from '../../lib/whisper/model/runtime.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { samplesOf } from '../audio/support.js';
import { cudaKind, gpu, hasCuda } from '../device/devices.js';

it.runIf(hasCuda)('leaves nothing to record for usual requests', { timeout: 120_000 }, async () => {
  const { prepare } = WhisperRuntime.prototype;
  // A real GPU does so itself. Loading an emulated one would take too long.
  const loading = vi.spyOn(WhisperRuntime.prototype, 'prepare').mockImplementation(async function (
    this: WhisperRuntime,
  ) {
    await prepare.call(this);
    if (!gpu) await this.rehearse();
  });
  using whisper = await Whisper.load(null, { device: cudaKind, windows: 1, rows: 2 });
  loading.mockRestore();
  const samples = await samplesOf('00_seen.flac');
  const recording = vi.spyOn(Device.prototype, 'record');
  try {
    const call = { language: 'en', recoverSpeech: false };
    const { text } = await whisper.transcribe(samples, call);
    await whisper.transcribe(samples, { ...call, timestamps: 'none' });
    expect(recording.mock.calls.map(([name]) => name)).toEqual([]);
    expect(text).toMatch(/\w/);
  } finally {
    recording.mockRestore();
  }
});
