/** A benchmark's result, stored after each case: what fails is told and kept, and ends nothing else. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Failure {
  case: string;
  message: string;
}

/** What every such result has. */
export interface StoredResult {
  date: string;
  /** Whether the run came to its end; `failures` tells which cases have no figures. */
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

  /** A half-written file never takes the place of a whole one. */
  store(): void {
    writeFileSync(`${this.path}.part`, `${JSON.stringify(this.result, null, 1)}\n`);
    renameSync(`${this.path}.part`, this.path);
  }

  /** Keeps what a case gives, or says that it failed and goes on. */
  async attempt<Row>(named: string, measure: () => Promise<Row>, keep: (row: Row) => void): Promise<void> {
    try {
      keep(await measure());
    } catch (error) {
      const message = (error as Error).message.slice(0, 500);
      this.result.failures.push({ case: named, message });
      console.log(`FAILED ${named}: ${message}`);
    }
    this.store();
  }

  /** Marks the run as whole, and sets the exit code where a case failed. */
  finish(): void {
    this.result.complete = true;
    this.store();
    console.log(`\nstored in ${this.path}`);
    for (const failure of this.result.failures) console.error(`failed: ${failure.case}: ${failure.message}`);
    if (this.result.failures.length > 0) process.exitCode = 1;
  }
}
