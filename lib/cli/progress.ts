/** A progress bar on standard error, if it is a terminal. */
import { SingleBar } from 'cli-progress';

export interface Progress {
  /** False if it is not shown. */
  readonly visible: boolean;
  /** `total` null: unknown. */
  update(title: string, done: number, total: number | null): void;
  stop(): void;
}

const silent: Progress = { visible: false, update: () => {}, stop: () => {} };

/** `unit` follows the numbers, such as 's'. Does nothing unless standard error is a terminal. */
export function progressBar(unit: string, wanted: boolean): Progress {
  if (!wanted || !process.stderr.isTTY) return silent;
  let bar: SingleBar | null = null;
  return {
    visible: true,
    update(title, done, total) {
      const value = Math.round(done);
      const all = Math.max(value, Math.round(total ?? 0));
      const names = { title: title.replace(/\p{Cc}/gu, '?'), unit };
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
        bar.start(all, value, names);
      }
      bar.setTotal(all);
      bar.update(value, names);
    },
    stop() {
      bar?.stop();
    },
  };
}
