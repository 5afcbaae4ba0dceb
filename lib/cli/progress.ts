/** A progress bar on standard error, where somebody can see it. */
import { type Options, SingleBar } from 'cli-progress';

export interface Progress {
  /** `total` null: not known yet. */
  update(done: number, total: number | null): void;
  stop(): void;
}

const silent: Progress = { update: () => {}, stop: () => {} };

/** `unit` stands behind the numbers, such as 's'. Silent unless standard error is a terminal. */
export function progressBar(title: string, unit: string, wanted: boolean): Progress {
  if (!wanted || !process.stderr.isTTY) return silent;
  const options: Options = {
    format: `${title} {bar} {percentage}% {value}/{total} ${unit}`,
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
  };
  const bar = new SingleBar(options);
  let started = false;
  return {
    update(done, total) {
      const value = Math.round(done);
      const all = Math.max(value, Math.round(total ?? 0));
      if (!started) bar.start(all, value);
      started = true;
      bar.setTotal(all);
      bar.update(value);
    },
    stop() {
      if (started) bar.stop();
    },
  };
}
