/** A progress bar on standard error, if it is a terminal. */
import { SingleBar } from 'cli-progress';

export interface Progress {
  readonly visible: boolean;
  /** `total` is null if it is unknown. */
  update(title: string, done: number, total: number | null): void;
  stop(): void;
}

const hidden: Progress = { visible: false, update: () => {}, stop: () => {} };

/** A progress bar, which is only visible if `enabled` and on a terminal. `unit` follows the numbers, such as 's'. */
export function progressBar(unit: string, enabled: boolean): Progress {
  if (!enabled || !process.stderr.isTTY) return hidden;
  let bar: SingleBar | null = null;
  return {
    visible: true,
    update(title, done, total) {
      const value = Math.round(done);
      const maximum = Math.max(value, Math.round(total ?? 0));
      const payload = { title: title.replace(/\p{Cc}/gu, '?'), unit };
      if (!bar) {
        const format = total === null ? '{title} {value} {unit}' : '{title} {bar} {percentage}% {value}/{total} {unit}';
        bar = new SingleBar({
          format,
          stream: process.stderr,
          clearOnComplete: true,
          hideCursor: true,
          // On a narrow terminal the numbers matter more than the bar.
          barsize: Math.max(1, Math.min(40, (process.stderr.columns || 80) - title.length - 32)),
        });
        bar.start(maximum, value, payload);
      }
      bar.setTotal(maximum);
      bar.update(value, payload);
    },
    stop() {
      bar?.stop();
    },
  };
}
