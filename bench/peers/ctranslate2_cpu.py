"""Measures CTranslate2, the library of faster-whisper, with a converted checkpoint; prints a JSON object.

    python ctranslate2_cpu.py FOLDER --dtype int8 --threads 2
"""

import argparse
import json
from pathlib import Path

import ctranslate2
import numpy as np
from timing import add_options, milliseconds, report


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", required=True)
    add_options(parser)
    arguments = parser.parse_args()
    model = ctranslate2.models.Whisper(str(arguments.folder), device="cpu", compute_type=arguments.dtype, intra_threads=arguments.threads)
    mels = model.n_mels
    features = ctranslate2.StorageView.from_array(np.sin(np.arange(mels * 3000, dtype=np.float32)).reshape(1, mels, 3000))
    encode = milliseconds(lambda: model.encode(features), arguments.repeats, arguments)
    encoded = model.encode(features)
    suppressed = json.loads((arguments.folder / "config.json").read_text()).get("suppress_ids") or []

    def decode(tokens):
        """Greedy decoding of `tokens` tokens, including the projection of the audio's keys and values."""
        prompt = [50258, 50259, 50359, 50363]
        result = model.generate(encoded, [prompt], beam_size=1, max_length=len(prompt) + tokens, suppress_blank=False, suppress_tokens=[*suppressed, 50257])
        return len(result[0].sequences_ids[0])

    per_token = {}
    for count in (25, 256):
        written = decode(count)
        per_token[count] = milliseconds(lambda: decode(count), max(1, arguments.repeats // 2), arguments) / written
    report(encoderMilliseconds=encode, decodeMillisecondsPerToken=per_token)


if __name__ == "__main__":
    main()
