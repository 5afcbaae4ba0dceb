'use strict';
// Reads what a shared library requires of the system that loads it.
const { readFileSync } = require('node:fs');

const machines = { 62: 'x64', 183: 'arm64' };

/** Compares version numbers, for sort. */
const byVersion = new Intl.Collator('en', { numeric: true }).compare;

/**
 * Reads a 64-bit ELF file. `cpu`: Node.js's name of its architecture. `needed`: the libraries that it links to.
 * `glibc`: the oldest version of glibc with all its symbols. `undefined`: symbols that other libraries must define.
 */
function read(file) {
  const bytes = readFileSync(file);
  if (bytes.toString('latin1', 0, 5) !== '\x7fELF\x02') throw new Error(`${file} is not a 64-bit ELF file`);
  const word = (at) => Number(bytes.readBigUInt64LE(at));
  const text = (at) => bytes.toString('latin1', at, bytes.indexOf(0, at));
  const sections = Array.from({ length: bytes.readUInt16LE(60) }, (_, i) => {
    const at = word(40) + i * bytes.readUInt16LE(58);
    const link = bytes.readUInt32LE(at + 40);
    return { type: bytes.readUInt32LE(at + 4), offset: word(at + 24), size: word(at + 32), link };
  });
  const ofType = (type) => sections.filter((one) => one.type === type);
  const needed = ofType(6).flatMap(({ offset, size, link }) =>
    Array.from({ length: size / 16 }, (_, i) => offset + i * 16)
      .filter((at) => word(at) === 1)
      .map((at) => text(sections[link].offset + word(at + 8))),
  );
  const versions = ofType(0x6ffffffe).flatMap(({ offset, link }) => {
    const names = [];
    for (let at = offset, next = 1; next > 0; at += next) {
      for (let one = at + bytes.readUInt32LE(at + 8), left = bytes.readUInt16LE(at + 2); left > 0; --left) {
        names.push(text(sections[link].offset + bytes.readUInt32LE(one + 8)));
        one += bytes.readUInt32LE(one + 12);
      }
      next = bytes.readUInt32LE(at + 12);
    }
    return names;
  });
  const undefined_ = ofType(11).flatMap(({ offset, size, link }) =>
    Array.from({ length: size / 24 - 1 }, (_, i) => offset + (i + 1) * 24)
      .filter((at) => bytes.readUInt16LE(at + 6) === 0)
      .map((at) => text(sections[link].offset + bytes.readUInt32LE(at))),
  );
  const glibc = versions.flatMap((name) => /^GLIBC_(\d.*)/.exec(name)?.[1] ?? []).sort(byVersion);
  return {
    cpu: machines[bytes.readUInt16LE(18)],
    needed,
    glibc: glibc.at(-1) ?? '2.0',
    versions,
    undefined: undefined_,
  };
}

module.exports = { byVersion, read };
