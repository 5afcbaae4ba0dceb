/** Counts errors of words and characters. */

/** The edits that turn the reference into the hypothesis; hits are equal words. */
export interface ErrorCounts {
  hits: number;
  substitutions: number;
  deletions: number;
  insertions: number;
}

/** Errors divided by the reference's length. For an empty reference, 0 without errors and infinity with any. */
export function errorRate({ hits, substitutions, deletions, insertions }: ErrorCounts): number {
  const length = hits + substitutions + deletions;
  const errors = substitutions + deletions + insertions;
  return errors === 0 ? 0 : errors / length;
}

export function addCounts(a: ErrorCounts, b: ErrorCounts): ErrorCounts {
  return {
    hits: a.hits + b.hits,
    substitutions: a.substitutions + b.substitutions,
    deletions: a.deletions + b.deletions,
    insertions: a.insertions + b.insertions,
  };
}

export const noCounts: ErrorCounts = { hits: 0, substitutions: 0, deletions: 0, insertions: 0 };

/** The edits of the minimum edit distance; among several, those with the fewest insertions and deletions. */
export function countErrors(reference: readonly string[], hypothesis: readonly string[]): ErrorCounts {
  const [height, width] = [reference.length, hypothesis.length];
  // Words are compared as numbers, which is faster, and only one row of the table is kept. A cost is
  // `errors * error + (insertions + deletions)`. Together with the two lengths it gives all four counts at the end.
  const numbers = new Map<string, number>();
  const number = (word: string) => {
    const known = numbers.get(word) ?? numbers.size;
    numbers.set(word, known);
    return known;
  };
  const wanted = Int32Array.from(reference, number);
  const got = Int32Array.from(hypothesis, number);
  const error = height + width + 1;
  const row = Float64Array.from({ length: width + 1 }, (_, insertions) => insertions * (error + 1));
  for (const word of wanted) {
    let diagonal = row[0];
    row[0] += error + 1;
    for (let i = 1; i <= width; ++i) {
      const above = row[i];
      row[i] = word === got[i - 1] ? diagonal : Math.min(diagonal + error, Math.min(above, row[i - 1]) + error + 1);
      diagonal = above;
    }
  }
  const errors = Math.floor(row[width] / error);
  const gaps = row[width] % error;
  const substitutions = errors - gaps;
  const deletions = (gaps + height - width) / 2;
  return { hits: height - substitutions - deletions, substitutions, deletions, insertions: gaps - deletions };
}

export interface TextErrors {
  words: ErrorCounts;
  characters: ErrorCounts;
}

/** The errors of a normalized text against a normalized reference. */
export function textErrors(reference: string, hypothesis: string): TextErrors {
  const words = (text: string) => text.split(/\s+/).filter((word) => word !== '');
  const [wanted, got] = [words(reference), words(hypothesis)];
  return { words: countErrors(wanted, got), characters: countErrors([...wanted.join(' ')], [...got.join(' ')]) };
}
