/** The stored result of a benchmark. It is written after each case; cases that fail are recorded too. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Failure {
  case: string;
  message: string;
}

/** The fields that all stored results have. */
export interface StoredResult {
  date: string;
  /** True if the run is finished; `failures` has the cases without figures. */
  complete: boolean;
  failures: Failure[];
}

export class ResultFile<Result extends StoredResult> {
  readonly path: string;
  readonly result: Result;

  constructor(path: string, result: Result) {
    this.path = path;
    this.result = result;
    mkdirSync(join(path, '..'), { recursive: true });
    this.store();
  }

  /** Replaces the file atomically, so that it is always complete. */
  store(): void {
    writeFileSync(`${this.path}.part`, `${JSON.stringify(this.result, null, 1)}\n`);
    renameSync(`${this.path}.part`, this.path);
  }

  /** Measures a case and passes its row to `add`. If it fails, prints and records the error instead of throwing it. */
  async attempt<Row>(name: string, measure: () => Promise<Row>, add: (row: Row) => void): Promise<void> {
    try {
      add(await measure());
    } catch (error) {
      const message = (error as Error).message.slice(0, 500);
      this.result.failures.push({ case: name, message });
      console.log(`FAILED ${name}: ${message}`);
    }
    this.store();
  }

  /** Marks the run as complete, and sets the exit status to 1 if a case failed. */
  finish(): void {
    this.result.complete = true;
    this.store();
    console.log(`\nstored in ${this.path}`);
    for (const failure of this.result.failures) console.error(`failed: ${failure.case}: ${failure.message}`);
    if (this.result.failures.length > 0) process.exitCode = 1;
  }
}
