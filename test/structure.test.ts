/** The structure of lib: neither files nor folders import each other in a circle. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, it } from 'vitest';

const lib = new URL('../lib', import.meta.url).pathname;
const files = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter((file) => /(?<!\.d)\.ts$/.test(file));

/** Each file's imports, as paths from lib. */
const imports = new Map(
  files.map((file): [string, string[]] => {
    const text = readFileSync(join(lib, file), 'utf8');
    const found = [...text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'(\.[^']+)\.js'/g)];
    return [file, found.map(([, path]) => `${relative(lib, join(lib, dirname(file), path))}.ts`)];
  }),
);

/** The circles of a graph: lists of names that reach each other. */
function circles(arrows: ReadonlyMap<string, Iterable<string>>): string[][] {
  const reach = new Map<string, Set<string>>();
  for (const from of arrows.keys()) {
    const seen = new Set<string>();
    const open = [...(arrows.get(from) ?? [])];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (seen.has(next)) continue;
      seen.add(next);
      open.push(...(arrows.get(next) ?? []));
    }
    reach.set(from, seen);
  }
  const found = [...arrows.keys()].filter((name) => reach.get(name)!.has(name));
  return [...new Set(found.map((name) => found.filter((other) => reach.get(name)!.has(other)).join(' ')))].map(
    (circle) => circle.split(' '),
  );
}

it('has no circle between files', () => {
  expect(files.length).toBeGreaterThan(100);
  expect(circles(imports)).toEqual([]);
});

it('has no circle between folders', () => {
  // Files directly in lib count as folders: the entry point imports all folders, and all folders import the others.
  const room = (file: string) => (dirname(file) === '.' ? file : dirname(file));
  const arrows = new Map<string, Set<string>>();
  for (const [file, all] of imports) {
    const from = room(file);
    const to = arrows.get(from) ?? new Set();
    for (const one of all) if (room(one) !== from) to.add(room(one));
    arrows.set(from, to);
  }
  expect(circles(arrows)).toEqual([]);
});
