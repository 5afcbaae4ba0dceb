/** A boundary of words as in Python's regular expressions, for those of openai/whisper's normalizers. */

const letter = '[\\p{L}\\p{N}_]';

/**
 * What `\b` matches in Python: JavaScript's `\b` knows only ASCII letters, so it would find the title st in Stéphane.
 * Needs the flag `u`.
 */
export const boundary = `(?:(?<=${letter})(?!${letter})|(?<!${letter})(?=${letter}))`;
