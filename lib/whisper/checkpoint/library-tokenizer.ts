/** Tokenizers that are not of the usual form, by @huggingface/tokenizers. */

import { OneheadError } from '../../errors.js';
import type { TextCodec } from './byte-level.js';
import { bytesOf } from './byte-pairs.js';
import { type TokenizerFiles, wholeJson } from './tokenizer-files.js';

/** Throws the library's Error if it cannot make a tokenizer of the files. */
export async function libraryTokenizer(files: TokenizerFiles): Promise<TextCodec> {
  // Imported on demand: hardly any model needs it.
  const { Tokenizer } = await import('@huggingface/tokenizers');
  const json = wholeJson(files);
  const tokenizer = new Tokenizer(json, files.config);
  let texts: Map<number, string> | undefined;
  const decode = (ids: readonly number[]) =>
    tokenizer.decode([...ids], { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  return {
    encode(text, isLeftOut) {
      // A BPE's pattern divides words after <| anyway. After this split no part contains such a token as a whole.
      const parts = isLeftOut ? text.split(/(?<=<\|)(?=[\p{L}\p{N}])/u) : [text];
      try {
        return parts.flatMap((part) => tokenizer.encode(part, { add_special_tokens: false }).ids);
      } catch (cause) {
        if (!(cause instanceof RangeError)) throw cause;
        // Its regular expressions exceed their stack at millions of characters without a break.
        const message = `The text of ${text.length} characters is too long for this model's tokenizer; shorten it.`;
        throw new OneheadError('INVALID_ARGUMENT', message, { argument: 'text', cause });
      }
    },
    decode,
    bytes(id) {
      texts ??= new Map(Object.entries(json.model.vocab).map(([text, id]) => [id, text]));
      const text = texts.get(id);
      // Tokens that were added to the vocabulary are written as plain text.
      return (text === undefined ? null : bytesOf(text)) ?? new TextEncoder().encode(decode([id]));
    },
  };
}
