/** Counts errors of words and characters. */

/** The edits that turn the reference into the hypothesis; hits are equal words. */
export interface ErrorCounts {
  hits: number;
  substitutions: number;
  deletions: number;
  insertions: number;
}

/** Errors divided by the reference's length. For an empty reference: 0 if there are no errors, else Infinity. */
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

/** Counts the edits of a minimum edit distance; among several, of one with the fewest insertions and deletions. */
export function countErrors(reference: readonly string[], hypothesis: readonly string[]): ErrorCounts {
  const [height, width] = [reference.length, hypothesis.length];
  // Words are compared by ids, which is faster, and only one row of the table is stored. A cost is
  // `errors * errorCost + (insertions + deletions)`. With the two lengths, the last cost gives all four counts.
  const ids = new Map<string, number>();
  const idOf = (word: string) => {
    const id = ids.get(word) ?? ids.size;
    ids.set(word, id);
    return id;
  };
  const referenceIds = Int32Array.from(reference, idOf);
  const hypothesisIds = Int32Array.from(hypothesis, idOf);
  const errorCost = height + width + 1;
  const row = Float64Array.from({ length: width + 1 }, (_, insertions) => insertions * (errorCost + 1));
  for (const id of referenceIds) {
    let diagonal = row[0];
    row[0] += errorCost + 1;
    for (let i = 1; i <= width; ++i) {
      const above = row[i];
      row[i] =
        id === hypothesisIds[i - 1]
          ? diagonal
          : Math.min(diagonal + errorCost, Math.min(above, row[i - 1]) + errorCost + 1);
      diagonal = above;
    }
  }
  const errors = Math.floor(row[width] / errorCost);
  const gaps = row[width] % errorCost;
  const substitutions = errors - gaps;
  const deletions = (gaps + height - width) / 2;
  return { hits: height - substitutions - deletions, substitutions, deletions, insertions: gaps - deletions };
}

export interface TextErrors {
  words: ErrorCounts;
  characters: ErrorCounts;
}

/** The errors of words and of characters. Both texts must be normalized. */
export function textErrors(reference: string, hypothesis: string): TextErrors {
  const words = (text: string) => text.split(/\s+/).filter((word) => word !== '');
  const [referenceWords, hypothesisWords] = [words(reference), words(hypothesis)];
  return {
    words: countErrors(referenceWords, hypothesisWords),
    characters: countErrors([...referenceWords.join(' ')], [...hypothesisWords.join(' ')]),
  };
}
