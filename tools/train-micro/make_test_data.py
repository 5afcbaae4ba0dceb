"""Makes test data: recordings of held-out sentences, and their transcriptions by stock transformers.

    python make_test_data.py recordings DATA FOLDER     writes new recordings: voices.ogg and voices.json
    python make_test_data.py expected MODEL FOLDER [--suffix=-mqa]
                                                        writes expected.json and voices-expected.json for MODEL

FOLDER is test/fixtures/heldout. recordings.json lists its older recordings. voices.ogg contains all new ones, since one
file is smaller than many. `margin` is the smallest difference between the two best logits: if it is small, another
precision may give another word.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile
import torch

from evaluate import PAUSE, HeldOut, edits
from features import SAMPLE_RATE
from sentences import normalized
from transcriber import WINDOW, Transcriber

SENTENCES = 6  # of each voice
QUALITY = 0.9  # soundfile's compression, 0 to 1


def as_json(entries: list[dict]) -> str:
    """An array with one entry on each line."""
    return "[\n" + ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries) + "\n]"


def recordings(data: Path, folder: Path) -> None:
    """The first held-out sentences of every voice, regardless of how well the model recognizes them."""
    held_out = HeldOut(data)
    parts, entries, at = [], [], 0
    for name, of_voice in held_out.sets.items():
        for entry in of_voice[:SENTENCES]:
            samples = np.concatenate([PAUSE, held_out.audio(entry), PAUSE])
            entries.append(dict(voice=name, begin=at, end=at + len(samples), text=entry["text"]))
            parts.append(samples)
            at += len(samples)
    path = folder / "voices.ogg"
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, format="OGG", subtype="VORBIS", compression_level=QUALITY) as file:
        for part in parts:  # libsndfile's Vorbis encoder fails on minutes in one call
            file.write(part)
    (folder / "voices.json").write_text(as_json(entries) + "\n")
    print(f"{len(entries)} utterances, {at / SAMPLE_RATE:.0f} s, {path.stat().st_size:,} bytes")


@torch.no_grad()
def margin(transcriber: Transcriber, features: torch.Tensor, tokens: list[int], prompt: list[int]) -> float:
    """The smallest difference between the two best logits, up to the end of text."""
    logits = transcriber.model(features, decoder_input_ids=torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 :]
    best = logits.topk(2, -1).values
    return round(float((best[:, 0] - best[:, 1]).min()), 3)


class Expectations:
    def __init__(self, model: Path):
        self.transcriber = Transcriber(model)
        named = self.transcriber.tokenizer.convert_tokens_to_ids
        self.start = named("<|startoftranscript|>")
        self.prompt = [self.start, named("<|en|>"), named("<|transcribe|>"), named("<|notimestamps|>")]
        self.no_speech = named("<|nospeech|>")

    @torch.no_grad()
    def window(self, samples: np.ndarray) -> dict:
        transcriber = self.transcriber
        features = transcriber.features([samples])
        (plain,), (timed,) = (transcriber.windows([samples], timestamps) for timestamps in (False, True))
        first = transcriber.model(features, decoder_input_ids=torch.tensor([[self.start]])).logits[0, 0].softmax(-1)
        return dict(
            no_speech_prob=round(float(first[self.no_speech]), 4),
            no_timestamps=dict(text=transcriber.text(plain), ids=plain, margin=margin(transcriber, features, plain, self.prompt)),
            timestamps=dict(text=transcriber.text(timed), ids=timed, segments=transcriber.segments(timed)))

    def long(self, samples: np.ndarray) -> dict:
        result = self.transcriber.long(samples)
        segments = [dict(start=round(float(one["start"]), 2), end=round(float(one["end"]), 2),
                         text=self.transcriber.text(one["tokens"])) for one in result["segments"][0]]
        return dict(timestamps=dict(text=self.transcriber.text(result["sequences"][0]), ids=result["sequences"][0].tolist(),
                                    segments=segments))


def word_errors(wanted: str, got: str) -> int:
    return edits(normalized(wanted).split(), normalized(got).split())


def expected(model: Path, folder: Path, suffix: str) -> None:
    expectations = Expectations(model)
    files = []
    for entry in json.loads((folder / "recordings.json").read_text()):
        samples, _ = soundfile.read(folder / entry["file"], dtype="float32")
        found = expectations.window(samples) if len(samples) <= WINDOW else expectations.long(samples)
        files.append(entry | found | dict(word_errors=word_errors(entry["text"], found["timestamps"]["text"])))
    (folder / f"expected{suffix}.json").write_text(f'{{"files": {as_json(files)}}}\n')
    samples, _ = soundfile.read(folder / "voices.ogg", dtype="float32")
    voices = []
    for entry in json.loads((folder / "voices.json").read_text()):
        found = expectations.window(samples[entry["begin"] : entry["end"]])
        plain = found["no_timestamps"]
        voices.append(dict(ids=plain["ids"], margin=plain["margin"], word_errors=word_errors(entry["text"], plain["text"]),
                           segments=found["timestamps"]["segments"]))
    (folder / f"voices-expected{suffix}.json").write_text(as_json(voices) + "\n")
    words = sum(len(normalized(entry["text"]).split()) for entry in json.loads((folder / "voices.json").read_text()))
    print(f"{sum(one['word_errors'] for one in voices)} of {words} words wrong; "
          f"{[one['word_errors'] for one in files]} in the older recordings")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("recordings")
    make.add_argument("data", type=Path, help="folder of synthesize.py")
    make.add_argument("folder", type=Path)
    hear = commands.add_parser("expected")
    hear.add_argument("model", type=Path, help="folder in Hugging Face format")
    hear.add_argument("folder", type=Path)
    hear.add_argument("--suffix", default="")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # these networks are small, so several threads would mostly wait for each other
    if arguments.command == "recordings":
        recordings(arguments.data, arguments.folder)
    else:
        expected(arguments.model, arguments.folder, arguments.suffix)


if __name__ == "__main__":
    main()
