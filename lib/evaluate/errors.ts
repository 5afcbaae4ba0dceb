/** Word and character error rates. */

/** The edits that turn the reference into the hypothesis. */
export interface ErrorCounts {
  hits: number;
  substitutions: number;
  deletions: number;
  insertions: number;
}

/** Errors over the reference's length; where that is 0, 0 for no errors and infinity for some. */
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

/** A cheapest way, every error costing 1; among equally cheap ways that with the fewest insertions and deletions. */
export function countErrors(reference: readonly string[], hypothesis: readonly string[]): ErrorCounts {
  const [height, width] = [reference.length, hypothesis.length];
  // Numbers compare faster than words, and one row of the table at a time is all that is wanted of it. A cost is errors
  // and, counted far less, those of them that are insertions or deletions: the two tell all four counts at the end,
  // since their lengths are known.
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

/** Errors of a normalised text against a normalised reference. */
export function textErrors(reference: string, hypothesis: string): TextErrors {
  const words = (text: string) => text.split(/\s+/).filter((word) => word !== '');
  const [wanted, got] = [words(reference), words(hypothesis)];
  return { words: countErrors(wanted, got), characters: countErrors([...wanted.join(' ')], [...got.join(' ')]) };
}
