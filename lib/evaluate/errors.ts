/** Word and character error rates. */

/** What it takes to turn the reference into the hypothesis. */
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
  // Costs of one row of the table at a time, each an edit distance with the counts that led there.
  const width = hypothesis.length + 1;
  let row = Array.from({ length: width }, (_, insertions): ErrorCounts => ({ ...noCounts, insertions }));
  const cost = ({ substitutions, deletions, insertions }: ErrorCounts) =>
    (substitutions + deletions + insertions) * (reference.length + width + 1) + deletions + insertions;
  for (const word of reference) {
    const next: ErrorCounts[] = [{ ...row[0], deletions: row[0].deletions + 1 }];
    for (let i = 1; i < width; ++i) {
      const same = word === hypothesis[i - 1];
      const diagonal = row[i - 1];
      if (same) {
        next.push({ ...diagonal, hits: diagonal.hits + 1 });
        continue;
      }
      const ways = [
        { ...diagonal, substitutions: diagonal.substitutions + 1 },
        { ...row[i], deletions: row[i].deletions + 1 },
        { ...next[i - 1], insertions: next[i - 1].insertions + 1 },
      ];
      next.push(ways.reduce((best, way) => (cost(way) < cost(best) ? way : best)));
    }
    row = next;
  }
  return row[width - 1];
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
