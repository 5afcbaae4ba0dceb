"""Word error rates of a model on the held-out utterances, with stock transformers.

    python evaluate.py MODEL DATA [--tokenizer FOLDER] [--quick] [--output FILE.json]

MODEL is a folder in Hugging Face format, or a checkpoint, for which --tokenizer names a folder with a tokenizer.
--quick only measures the voices, without timestamps. Words are compared without capitals and punctuation.
"""

import argparse
import json
import random
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from features import SAMPLE_RATE
from noises import wordless
from sentences import normalized
from synthesize import HELD_OUT_NATURAL, UNSEEN
from transcriber import WINDOW, Transcriber

PAUSE = np.zeros(1600, np.float32)  # 0.1 s before and after a recording
EDGE = 0.12  # s; the pause, and the 20 ms of silence that synthesize.py leaves


def edits(wanted, got) -> int:
    """Insertions, deletions and substitutions between two sequences."""
    row = list(range(len(got) + 1))
    for i, a in enumerate(wanted, 1):
        last, row[0] = row[0], i
        for j, b in enumerate(got, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (a != b))
    return row[-1]


def error_rates(wanted: list[str], got: list[str]) -> tuple[float, float]:
    """Error rates of words and of characters, in percent."""
    pairs = [(normalized(a), normalized(b)) for a, b in zip(wanted, got, strict=True)]
    words = sum(edits(a.split(), b.split()) for a, b in pairs) / max(1, sum(len(a.split()) for a, _ in pairs))
    characters = sum(edits(a, b) for a, b in pairs) / max(1, sum(len(a) for a, _ in pairs))
    return round(100 * words, 2), round(100 * characters, 2)


class HeldOut:
    def __init__(self, data: Path):
        self.samples = np.load(data / "held-out.pcm.npy", mmap_mode="r")
        self.sets: dict[str, list[dict]] = defaultdict(list)
        for entry in json.loads((data / "held-out.json").read_text()):
            self.sets[entry["set"]].append(entry)

    def audio(self, entry: dict) -> np.ndarray:
        return self.samples[entry["offset"] : entry["offset"] + entry["length"]].astype(np.float32) / 32768

    def known(self) -> list[dict]:
        return [entry for name, entries in self.sets.items() if name not in (UNSEEN, HELD_OUT_NATURAL) for entry in entries]


def transcribe(transcriber: Transcriber, held_out: HeldOut, quick: bool) -> None:
    """One utterance in each window: sets each entry's text, `heard`, and unless `quick` its segments, `timed`."""
    entries = sorted((entry for entries in held_out.sets.values() for entry in entries), key=lambda entry: entry["length"])
    recordings = [np.concatenate([PAUSE, held_out.audio(entry), PAUSE])[:WINDOW] for entry in entries]
    for entry, tokens in zip(entries, transcriber.windows(recordings)):
        entry["heard"] = transcriber.text(tokens)
    if quick:
        return
    for entry, recording, tokens in zip(entries, recordings, transcriber.windows(recordings, timestamps=True)):
        segments = transcriber.segments(tokens)
        entry["timed"] = transcriber.text(tokens)
        entry["time_errors"] = None
        if segments and segments[-1]["end"] is not None:
            entry["time_errors"] = (abs(segments[0]["start"] - EDGE), abs(segments[-1]["end"] - (len(recording) / SAMPLE_RATE - EDGE)))


def summary(entries: list[dict]) -> dict:
    """Error rates of transcribed entries in percent, and errors of their times."""
    texts = [entry["text"] for entry in entries]
    words, characters = error_rates(texts, [entry["heard"] for entry in entries])
    result = dict(utterances=len(entries), words=words, characters=characters,
                  exact=round(100 * float(np.mean([entry["text"] == entry["heard"].strip() for entry in entries])), 1))
    if "timed" in entries[0]:
        errors = np.array([entry["time_errors"] for entry in entries if entry["time_errors"]])
        # An utterance without both times counts as one with wrong times.
        result |= dict(timed_words=error_rates(texts, [entry["timed"] for entry in entries])[0],
                       start_95=round(float(np.percentile(errors[:, 0], 95)), 3), end_95=round(float(np.percentile(errors[:, 1], 95)), 3),
                       both_within_100ms=round(100 * float((errors.max(1) <= 0.1 + 1e-6).sum()) / len(entries), 1))
    return result


def pairs(transcriber: Transcriber, held_out: HeldOut, entries: list[dict], count: int, seed: int) -> dict:
    """Two utterances in each window."""
    rng = random.Random(seed)
    entries = rng.sample(entries, len(entries))
    recordings, firsts, seconds = [], [], []
    while len(entries) > 1 and len(recordings) < count:
        first, second = entries.pop(), entries.pop()
        pause = np.zeros(rng.randint(3000, 12000), np.float32)
        recording = np.concatenate([PAUSE, held_out.audio(first), pause, held_out.audio(second), PAUSE])
        if len(recording) <= WINDOW - 1000:
            recordings.append(recording)
            firsts.append(first["text"])
            seconds.append(second["text"])
    found = [transcriber.segments(tokens) for tokens in transcriber.windows(recordings, timestamps=True)]
    first = [segments[0]["text"] if segments else "" for segments in found]
    later = [" ".join(segment["text"] for segment in segments[1:]) for segments in found]
    return dict(windows=len(recordings), first=error_rates(firsts, first)[0], second=error_rates(seconds, later)[0],
                two_segments=round(100 * np.mean([len(segments) == 2 for segments in found]), 1))


def long_form(transcriber: Transcriber, held_out: HeldOut, entries: list[dict], count: int, seed: int) -> dict:
    """Recordings of 40 s, utterances with pauses of 0.25 to 0.75 s."""
    rng = random.Random(seed)
    entries = rng.sample(entries, len(entries))
    wanted, got, utterances, segments = [], [], 0, 0
    for _ in range(count):
        parts, texts = [PAUSE], []
        while entries and sum(map(len, parts)) < 40 * SAMPLE_RATE:
            entry = entries.pop()
            parts += [held_out.audio(entry), np.zeros(rng.randint(4000, 12000), np.float32)]
            texts.append(entry["text"])
        result = transcriber.long(np.concatenate(parts))
        wanted.append(" ".join(texts))
        got.append(transcriber.text(result["sequences"][0]))
        utterances, segments = utterances + len(texts), segments + len(result["segments"][0])
    return dict(recordings=count, words=error_rates(wanted, got)[0], utterances=utterances, segments=segments)


def without_words(transcriber: Transcriber) -> dict:
    """The number of sounds that give no text: silence, noise, hum, tones, and 64 random ones not in the training."""
    rng = np.random.default_rng(0)
    time_axis = np.arange(WINDOW) / SAMPLE_RATE

    def sine(frequency, amplitude):
        return amplitude * np.sin(2 * np.pi * frequency * time_axis)

    sounds = [np.zeros(WINDOW // 2), *(level * rng.standard_normal(WINDOW) for level in (0.001, 0.01, 0.05, 0.2)), sine(60, 0.02),
              sine(60, 0.02)[: WINDOW // 2], sine(50, 0.1) + sine(150, 0.05), sine(440, 0.2), sine(1000, 0.3)[:SAMPLE_RATE],
              sine(262, 0.1) + sine(330, 0.1) + sine(392, 0.1)]
    rng = np.random.default_rng(4242)
    sounds += [wordless(rng) for _ in range(64)]
    texts = []
    for timestamps in (False, True):
        texts.append([transcriber.text(tokens).strip()
                      for tokens in transcriber.windows([sound.astype(np.float32) for sound in sounds], timestamps)])
    return dict(sounds=len(sounds), empty=sum(not a and not b for a, b in zip(*texts)), wrong=[a or b for a, b in zip(*texts) if a or b])


def evaluate(model: Path, data: Path, tokenizer: Path | None, quick: bool, sentences: int | None = None) -> dict:
    transcriber, held_out = Transcriber(model, tokenizer), HeldOut(data)
    if sentences:
        texts = {entry["text"] for entry in held_out.sets[UNSEEN][:sentences]}
        held_out.sets = {name: [entry for entry in entries if entry["text"] in texts] for name, entries in held_out.sets.items()}
    transcribe(transcriber, held_out, quick)
    known = held_out.known()
    report: dict = {"voices": {name: summary(entries) for name, entries in held_out.sets.items()}, "known voices": summary(known)}
    if not quick:
        groups = {"known voices": known, UNSEEN: held_out.sets[UNSEEN], HELD_OUT_NATURAL: held_out.sets[HELD_OUT_NATURAL]}
        report["two utterances"] = {name: pairs(transcriber, held_out, entries, 100, 4) for name, entries in groups.items()}
        report["40 s"] = {name: long_form(transcriber, held_out, entries, count, 5)
                          for (name, entries), count in zip(groups.items(), (16, 8, 8))}
        report["without words"] = without_words(transcriber)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path, help="folder of synthesize.py")
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sentences", type=int, help="number of held-out sentences (default: all)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    begin = time.time()
    report = evaluate(arguments.model, arguments.data, arguments.tokenizer, arguments.quick, arguments.sentences)
    report["seconds"] = round(time.time() - begin)
    text = json.dumps(report, indent=1)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
