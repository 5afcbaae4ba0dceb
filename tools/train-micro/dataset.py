"""Training batches: utterances placed in windows, with augmentation, and the decoder's input and labels.

A batch only depends on the seed and its number, so an interrupted training continues with the same batches.
"""

import json
import random
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from features import WINDOW_FRAMES, normalize
from network import LETTERS, Shape
from sentences import normalized

SILENCE = -10.0  # log10 of the power
LN10 = 2.302585
FIRST_TIMESTAMP = 50  # steps of 20 ms: a window's first timestamp is 1.00 s at most, as in Whisper's decoding
IGNORED = -100  # cross-entropy ignores positions with this label
SHORT, PACKED, FULL = "short", "packed", "full"
# The share of each kind of window. Short ones are cheap, and sufficient for recognizing words at all.
MIX = {SHORT: 0.24, PACKED: 0.68, FULL: 0.08}
EARLY_MIX, EARLY = {SHORT: 0.70, PACKED: 0.20, FULL: 0.10}, 0.1  # for this share of a training from random weights
# For training on the decoder's own texts: silence after an utterance is what makes it repeat that utterance.
WHOLE_MIX = {SHORT: 0.15, PACKED: 0.40, FULL: 0.45}
# From this share of the training on, augmentation is rarer by this factor.
CALM_FROM, CALM = 0.45, 0.4


class Tokens:
    """The tokenizer and its special tokens."""

    def __init__(self, folder):
        from transformers import WhisperTokenizer

        self.tokenizer = WhisperTokenizer.from_pretrained(folder)
        names = "endoftext startoftranscript en transcribe startofprev nospeech notimestamps".split()
        self.end, self.start, self.english, self.transcribe, self.previous, self.no_speech, self.no_timestamps = (
            self.tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in names)
        self.first_timestamp = self.no_timestamps + 1
        self.sentence_ends = [self.tokenizer.convert_tokens_to_ids(mark) for mark in ".?"]
        self.count = len(self.tokenizer)
        self.cache: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        if text not in self.cache:
            self.cache[text] = self.tokenizer(" " + text, add_special_tokens=False).input_ids
        return self.cache[text]


@dataclass
class Spoken:
    """An utterance in a window, in frames. If the window cuts it off, it has neither end nor text."""
    start: int
    end: int | None = None
    text: str | None = None


class Corpus:
    """All utterances of a data folder, shortest first, and the recordings without words. Memory-mapped, so that ranks
    share them."""

    def __init__(self, folder: Path):
        self.mels, self.entries = [], []
        for index, path in enumerate(sorted(folder.glob("train-*.json"))):
            self.mels.append(torch.from_numpy(np.load(path.with_suffix(".mel.npy"), mmap_mode="c")))
            self.entries += [(entry["length"], index, entry["offset"], entry["text"]) for entry in json.loads(path.read_text())]
        self.entries = sorted(entry for entry in self.entries if 25 <= entry[0] <= 900)
        self.lengths = [entry[0] for entry in self.entries]
        self.noises = [torch.from_numpy(np.load(path, mmap_mode="c")) for path in sorted(folder.glob("noise-*.mel.npy"))]
        self.short = bisect_left(self.lengths, 320)  # utterances of less than 3.2 s

    def mel(self, number: int) -> torch.Tensor:
        length, index, offset, _ = self.entries[number]
        return self.mels[index][offset : offset + length].float()

    def noise(self, rng: random.Random, frames: int) -> torch.Tensor:
        noises = rng.choice(self.noises)
        start = rng.randrange(len(noises) // WINDOW_FRAMES) * WINDOW_FRAMES + rng.randrange(WINDOW_FRAMES + 1 - frames)
        return noises[start : start + frames].float()


def power_sum(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.logaddexp(a * LN10, b * LN10) / LN10


class Batches(torch.utils.data.Dataset):
    """Batch `number` is part number % parts of step number // parts, and holds about `frames` frames.

    It is a tuple: number, kind, mel [batch, 80, frames], first positions [batch], tokens [batch, length],
    labels [batch, length], CTC targets.
    """

    def __init__(self, corpus: Corpus, tokens: Tokens, frames: int, parts: int, seed: int, count: int, early: bool, whole_from: float):
        self.corpus, self.tokens, self.frames, self.parts, self.seed, self.count = corpus, tokens, frames, parts, seed, count
        self.early, self.whole = EARLY * count if early else 0, whole_from * count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int):
        # All parts of a step are of one kind, so that they cost about the same.
        step, part = divmod(number, self.parts)
        mix = EARLY_MIX if number < self.early else WHOLE_MIX if number >= self.whole else MIX
        kind = random.Random(f"{self.seed} {step}").choices(list(mix), mix.values())[0]
        rng = random.Random(f"{self.seed} {step} {part}")
        torch.manual_seed(rng.getrandbits(60))
        return (number, kind, *self.make(kind, rng, CALM if number >= CALM_FROM * self.count else 1.0))

    def make(self, kind: str, rng: random.Random, altered: float):
        corpus, number = self.corpus, len(self.corpus.entries)
        low, high = 0, number
        if kind == SHORT:  # utterances of similar length, in the shortest window that fits them
            centre = rng.randrange(number)
            low, high = max(0, centre - 400), min(number, centre + 400)
            width = int((corpus.lengths[high - 1] + 30) * 1.08) + rng.randint(4, 50)
            width = min(WINDOW_FRAMES, (width + 15) // 16 * 16)
        else:
            width = WINDOW_FRAMES if kind == FULL or rng.random() < 0.55 else rng.choice([480, 560, 640, 720, 800])
        size = max(2, min(64, self.frames // width))
        stretch = torch.empty(size).uniform_(0.93, 1.0 if kind == PACKED else 1.08)
        stretch[torch.rand(size) >= 0.6 * altered] = 1
        mel = torch.full((size, width, 80), SILENCE)
        spoken = [self.compose(kind, rng, mel[row], float(stretch[row]), low, high) for row in range(size)]
        mel = self.augment(mel, spoken, stretch, altered, rng)
        offsets = self.offsets(kind, width, size, rng)
        rows = [self.targets(spoken[row], offsets[row], float(stretch[row]), rng) for row in range(size)]
        longest = (max(len(tokens) for tokens, _, _ in rows) + 7) // 8 * 8
        tokens = torch.full((size, longest), self.tokens.end)
        labels = torch.full((size, longest), IGNORED)
        for row, (row_tokens, row_labels, _) in enumerate(rows):
            tokens[row, : len(row_tokens)] = torch.tensor(row_tokens)
            labels[row, : len(row_labels)] = torch.tensor(row_labels)
        return mel.transpose(1, 2).contiguous(), torch.tensor(offsets), tokens, labels, [letters for _, _, letters in rows]

    def compose(self, kind: str, rng: random.Random, canvas: torch.Tensor, stretch: float, low: int, high: int) -> list[Spoken]:
        """Adds utterances (or none) to the silent canvas [frames, 80]."""
        width, found = len(canvas), []
        if rng.random() >= (0.12 if kind == FULL else 0.05):
            found = self.place(kind, rng, canvas, int(width * stretch), low, high)
        if not found and rng.random() < 0.7:
            canvas[:] = self.corpus.noise(rng, width)
        return found

    def place(self, kind, rng, canvas, visible, low, high) -> list[Spoken]:
        corpus, width, found = self.corpus, len(canvas), []
        if kind == SHORT:
            chosen = [rng.randrange(low, high)]
        elif kind == FULL and rng.random() < 0.7:
            chosen = [rng.randrange(len(corpus.entries))]
        else:
            chosen = [rng.randrange(corpus.short if rng.random() < 0.45 else len(corpus.entries)) for _ in range(rng.randint(2, 5))]
        # Most begin early, as in a long recording that is cut at the end of an utterance.
        begin = rng.random()
        if begin < 0.3:
            at = 0
        elif kind == SHORT:
            at = rng.randint(0, 28)
        else:
            at = rng.randint(0, 40) if begin < 0.8 else rng.randint(40, 250)
        if kind == FULL and len(chosen) == 1 and rng.random() < 0.4:
            at = rng.randint(0, max(0, width - 80 - corpus.lengths[chosen[0]]))
        limit = min(width - 4, visible - 6)
        for number in chosen:
            length = corpus.lengths[number]
            if at + length > limit:
                if found and kind == PACKED and at < limit - 40 and length >= width - at:
                    canvas[at:] = corpus.mel(number)[: width - at]
                    found.append(Spoken(at))
                if found:
                    break
                at = max(0, limit - length)
                if at + length > width:
                    continue
            canvas[at : at + length] = (corpus.mel(number) + rng.uniform(-0.4, 0.4)).clamp_min(SILENCE)
            found.append(Spoken(at, at + length, corpus.entries[number][3]))
            at += length + (rng.randint(8, 60) if rng.random() < 0.8 else rng.randint(60, 150))
        return found

    def augment(self, mel: torch.Tensor, spoken: list[list[Spoken]], stretch: torch.Tensor, altered: float,
                rng: random.Random) -> torch.Tensor:
        """[batch, frames, 80]: warped in time and frequency, with noise, random loudness and masks; scaled as in
        Whisper."""
        size, width, mels = mel.shape
        scale, shift = torch.empty(size).uniform_(0.9, 1.12), torch.empty(size).uniform_(-1.5, 1.5)
        plain = torch.rand(size) >= 0.6 * altered
        scale[plain], shift[plain] = 1, 0
        across = (torch.arange(mels)[None] * scale[:, None] + shift[:, None] + 0.5) / mels * 2 - 1
        along = (torch.arange(width)[None] * stretch[:, None] + 0.5) / width * 2 - 1
        grid = torch.stack([across[:, None, :].expand(size, width, mels), along[:, :, None].expand(size, width, mels)], -1)
        mel = F.grid_sample(mel[:, None], grid, mode="bilinear", padding_mode="border", align_corners=False)[:, 0]
        self.colour(mel, altered)
        for row in range(size):  # background such as music for 16 % of the speech, 9 to 40 dB below its loudest point
            if spoken[row] and rng.random() < 0.16 * altered:
                behind = self.corpus.noise(rng, width)
                mel[row] = power_sum(mel[row], behind + (mel[row].max() - behind.max() - rng.uniform(0.9, 4.0)))
        noisy = torch.rand(size) < 0.4 * altered
        if count := int(noisy.sum()):
            loudest = mel[noisy].amax((1, 2))
            level = torch.where(loudest < -5, 0.0, loudest) - torch.empty(count).uniform_(1.8, 5.5)
            tilt = torch.empty(count, 1).uniform_(-1.2, 0.5) * torch.linspace(-1, 1, mels)
            tilt = tilt + 0.25 * torch.randn(count, mels // 8).repeat_interleave(8, 1)
            noise = level[:, None, None] + tilt[:, None, :] + torch.randn(count, width, mels) * torch.linspace(0.35, 0.12, mels)
            noise = noise + 0.1 * torch.randn(count, width // 10 + 1, 1).repeat_interleave(10, 1)[:, :width]
            mel[noisy] = power_sum(mel[noisy], noise)
        mel = normalize((mel + torch.empty(size, 1, 1).uniform_(-1.5, 0.6)).clamp_min(SILENCE))
        for row in range(size):
            if rng.random() < 0.3 * altered:
                mean = mel[row].mean()
                for _ in range(rng.randint(1, 2)):
                    start = rng.randint(0, 72)
                    mel[row, :, start : start + rng.randint(1, 8)] = mean
                for _ in range(max(1, width // 200)):
                    start = rng.randint(0, width - 14)
                    mel[row, start : start + rng.randint(1, 12)] = mean
        return mel

    @staticmethod
    def colour(mel: torch.Tensor, altered: float) -> None:
        """Simulates another voice, microphone or room: a random tilt and smooth bumps over frequency, for 60% of mel
        [batch, frames, 80]."""
        size, _, mels = mel.shape
        curve = torch.empty(size, 1).uniform_(-0.5, 0.5) * torch.linspace(-1, 1, mels)
        curve += F.interpolate(0.15 * torch.randn(size, 1, 7), size=mels, mode="linear", align_corners=True)[:, 0]
        curve[torch.rand(size) >= 0.6 * altered] = 0
        mel += curve[:, None, :]

    @staticmethod
    def offsets(kind: str, width: int, size: int, rng: random.Random) -> list[int]:
        """Encoder positions of the windows' first frames: a short window is often trained as the end of a whole one.

        Otherwise the decoder only learns early positions: after training on short windows alone, an utterance that
        began at 5.5 s was lost.
        """
        most = (WINDOW_FRAMES - width) // 2
        if most < 20:
            return [0] * size
        return [most if kind == PACKED else 0 if rng.random() < 0.3 else rng.randint(0, most) for _ in range(size)]

    def earlier(self, offset: int, rng: random.Random) -> list[tuple[int, int, str]]:
        """Up to four segments that come before this window's first position, as a prompt: start, end, text."""
        found, at = [], rng.randint(0, 25)
        while len(found) < 4:
            length, _, _, text = self.corpus.entries[rng.randrange(self.corpus.short)]
            end = at + length // 2
            if end > offset:
                break
            found.append((at, end, text))
            at = end + rng.randint(4, 30)
        return found

    def targets(self, spoken: list[Spoken], offset: int, stretch: float, rng: random.Random):
        """Decoder input, labels and CTC letters (None where a text is cut off) of one window."""
        t = self.tokens
        head = [t.start, t.english, t.transcribe]
        cut = any(one.text is None for one in spoken)
        timestamps = rng.random() < 0.5 or cut
        before = self.earlier(offset, rng) if spoken and offset >= 50 and rng.random() < 0.75 else []
        previous = []
        if not before and rng.random() < 0.08:  # the text of earlier windows, as a prompt
            entries = self.corpus.entries
            previous = sum((t.encode(rng.choice(entries)[3]) for _ in range(rng.randint(1, 3))), [t.previous])[:70]

        def step(frame: int) -> int:
            return round(frame / stretch / 2) + offset

        told, written = [], []
        if not spoken:
            written = [t.first_timestamp if timestamps else t.no_timestamps]
        elif timestamps:
            for start, end, text in before:
                told += [t.first_timestamp + start, *t.encode(text), t.first_timestamp + end]
            for index, one in enumerate(spoken):
                start = step(one.start)
                if index == 0 and offset == 0:
                    start = min(start, FIRST_TIMESTAMP)
                written.append(t.first_timestamp + min(start, 500))
                if one.text is not None:
                    written += [*t.encode(one.text), t.first_timestamp + min(step(one.end), 500)]
        else:
            head = [*head, t.no_timestamps]
            told = sum((t.encode(text) for _, _, text in before), [])
            written = sum((t.encode(one.text) for one in spoken), [])
        whole = [*previous, *head, *told, *written, t.end]
        # Label i is token i + 1. The prompt and the given segments have no labels; the head has.
        labels = [IGNORED] * len(previous) + whole[len(previous) + 1 :]
        if not spoken:
            labels[len(previous)] = t.no_speech
        if told:
            first = len(previous) + len(head) - 1
            labels[first : first + len(told)] = [IGNORED] * len(told)
        letters = None if cut else [LETTERS[c] for c in normalized(" ".join(one.text for one in spoken))]
        return whole[:-1][: Shape.text_positions], labels[: Shape.text_positions], letters
