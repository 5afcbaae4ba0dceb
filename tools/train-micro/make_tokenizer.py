"""Makes the tokenizer: byte pairs learned from the grammar, Whisper's special tokens, timestamps up to 10 s.

    python make_tokenizer.py FOLDER

Writes the tokenizer, and the settings of features and generation, as Hugging Face files.
"""

import argparse
import json
import random
from pathlib import Path

from tokenizers import AddedToken, ByteLevelBPETokenizer
from transformers import GenerationConfig, WhisperFeatureExtractor, WhisperProcessor, WhisperTokenizer

from sentences import sentence

MERGES = 2500  # nine tenths of the words become one token each
SENTENCES = 60000
TIMESTAMPS = 501  # 0.00 to 10.00 s
# <|nospeech|> comes just before <|notimestamps|>, as in Whisper, since transformers looks for it there.
SPECIAL = [f"<|{name}|>" for name in "endoftext startoftranscript en translate transcribe startoflm startofprev nospeech notimestamps".split()]


def learn(folder: Path, seed: int) -> tuple[dict[str, int], list[tuple[str, ...]]]:
    """Vocabulary and merges; they are also written as vocab.json and merges.txt."""
    rng = random.Random(seed)
    pairs = ByteLevelBPETokenizer()
    texts = [" " + sentence(rng) for _ in range(SENTENCES)]
    pairs.train_from_iterator(texts, vocab_size=256 + MERGES, min_frequency=5, show_progress=False)
    pairs.save_model(str(folder))
    merges = (folder / "merges.txt").read_text().split("\n")
    return pairs.get_vocab(), [tuple(line.split(" ")) for line in merges if line and not line.startswith("#version")]


def make(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = learn(folder, seed)
    first = len(vocabulary)
    timestamps = [f"<|{index * 0.02:.2f}|>" for index in range(TIMESTAMPS)]
    # transformers needs the special tokens in the vocabulary when it creates the tokenizer.
    vocabulary |= {name: first + index for index, name in enumerate(SPECIAL + timestamps)}
    tokenizer = WhisperTokenizer(vocab=vocabulary, merges=merges)
    tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL[1:]], special_tokens=True)
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in timestamps])
    tokenizer.add_special_tokens({"extra_special_tokens": SPECIAL})
    tokenizer.pad_token = SPECIAL[0]
    tokenizer.model_max_length = 192
    wrong = [name for name, index in vocabulary.items() if tokenizer.convert_tokens_to_ids(name) != index]
    if wrong:
        raise SystemExit(f"transformers moved tokens: {wrong[:5]}")
    extractor = WhisperFeatureExtractor(feature_size=80, sampling_rate=16000, hop_length=160, chunk_length=10, n_fft=400)
    for part in (WhisperProcessor(extractor, tokenizer), extractor, tokenizer):
        part.save_pretrained(folder)
    # The special tokens except the end of text are stored only as added tokens.
    stored = json.loads((folder / "tokenizer.json").read_text())
    stored["model"]["vocab"] = {name: index for name, index in stored["model"]["vocab"].items() if index <= first}
    (folder / "tokenizer.json").write_text(json.dumps(stored, ensure_ascii=False))
    (folder / "vocab.json").write_text(json.dumps({name: i for name, i in vocabulary.items() if i <= first}, ensure_ascii=False))
    ids = {name.strip("<|>"): vocabulary[name] for name in SPECIAL}
    GenerationConfig(
        bos_token_id=first, eos_token_id=first, pad_token_id=first, decoder_start_token_id=ids["startoftranscript"], max_length=128,
        return_timestamps=False, is_multilingual=True, lang_to_id={"<|en|>": ids["en"]},
        task_to_id={"transcribe": ids["transcribe"], "translate": ids["translate"]}, no_timestamps_token_id=ids["notimestamps"],
        prev_sot_token_id=ids["startofprev"], max_initial_timestamp_index=50, begin_suppress_tokens=None, suppress_tokens=None,
        language="<|en|>", task="transcribe").save_pretrained(folder)
    print(f"{first} tokens, {len(SPECIAL)} special ones, {TIMESTAMPS} timestamps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    make(arguments.folder, arguments.seed)


if __name__ == "__main__":
    main()
