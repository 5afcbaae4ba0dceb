/** openai/whisper's median filter and dynamic time warping over attention scores, as a plain reference. */
type Matrix = number[][];

const transposed = (matrix: Matrix): Matrix => matrix[0].map((_, column) => matrix.map((row) => row[column]));

export function softmax(row: readonly number[]): number[] {
  const highest = Math.max(...row);
  const weights = row.map((score) => Math.exp(score - highest));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / total);
}

function standard(column: readonly number[]): number[] {
  const mean = column.reduce((a, b) => a + b, 0) / column.length;
  const deviation = Math.sqrt(column.reduce((sum, value) => sum + (value - mean) ** 2, 0) / column.length);
  return column.map((value) => (deviation > 0 ? (value - mean) / deviation : 0));
}

function median(row: readonly number[], width: number): number[] {
  const pad = (width - 1) / 2;
  if (row.length <= pad) return [...row];
  const mirrored = (i: number) => (i < 0 ? -i : i >= row.length ? 2 * row.length - 2 - i : i);
  return row.map((_, i) => {
    const near = Array.from({ length: width }, (_, j) => row[mirrored(i - pad + j)]);
    return near.sort((a, b) => a - b)[pad];
  });
}

/** The first column of each row on the cheapest path from the first cell to the last. */
function warp(cost: Matrix): number[] {
  const [rows, columns] = [cost.length, cost[0].length];
  const table: Matrix = Array.from({ length: rows + 1 }, () => Array(columns + 1).fill(Number.POSITIVE_INFINITY));
  table[0][0] = 0;
  for (let i = 1; i <= rows; ++i) {
    for (let j = 1; j <= columns; ++j) {
      table[i][j] = cost[i - 1][j - 1] + Math.min(table[i - 1][j - 1], table[i - 1][j], table[i][j - 1]);
    }
  }
  const first = Array<number>(rows);
  for (let i = rows, j = columns; i > 0; ) {
    first[i - 1] = j - 1;
    const [both, row, column] = [table[i - 1][j - 1], table[i - 1][j], table[i][j - 1]];
    if (both < row && both < column) [i, j] = [i - 1, j - 1];
    else if (row < both && row < column) --i;
    else if (j > 1) --j;
    else break;
  }
  return first;
}

/** Returns the first key of each position; scores are [heads][positions][keys]. */
export function alignedPositions(scores: readonly Matrix[], width: number): number[] {
  const byHead = scores.map((rows) =>
    transposed(transposed(rows.map(softmax)).map(standard)).map((row) => median(row, width)),
  );
  const cost = byHead[0].map((row, i) =>
    row.map((_, j) => -byHead.reduce((sum, matrix) => sum + matrix[i][j], 0) / byHead.length),
  );
  return warp(cost);
}
