"""Trains the network, from random weights or from a checkpoint.

    python train.py DATA TOKENIZER OUTPUT --steps 20000 [--from CHECKPOINT] [--ranks 3] [--rate 1e-3]

- The gradient of a step is the mean over several parts, whichever process computes them.
- On a CPU, several ranks (processes with one thread) divide the parts among themselves. With CUDA there is one rank
  (then --parts 1 is best), and loaders prepare its batches.
- Weights are bfloat16 copies of float32 ones that the optimizer keeps.

Files in OUTPUT: `log.jsonl`, a numbered checkpoint every `--snapshot` steps, and `last.pt` with the optimizer's state,
from which the same command continues after an interruption.
"""

import argparse
import copy
import json
import math
import os
import time
from functools import partial
from pathlib import Path

import torch
import torch.distributed as distributed
import torch.nn.functional as F
from torch.multiprocessing import get_context, spawn

from dataset import IGNORED, Batches, Corpus, Tokens
from export import read_network
from network import Shape, Whisper, load, save
from reading import own_texts, own_words, right_texts

FINAL_RATE = 0.02  # relative to the highest rate
MATRIX_RATE = 3  # relative to the other weights' rate


def encoder_loss(letter_logits: torch.Tensor, letters) -> torch.Tensor:
    """CTC loss of the rows whose whole text is known."""
    rows = [row for row, known in enumerate(letters) if known is not None]
    if not rows:
        return letter_logits.new_zeros((), dtype=torch.float32)
    known = [letters[row] for row in rows]
    # torch's own CTC on a GPU too: cuDNN's does not support targets of length 0, and this loss is small.
    log_probs = letter_logits[rows].float().log_softmax(-1).transpose(0, 1)
    return F.ctc_loss(log_probs, torch.tensor(sum(known, []), dtype=torch.long, device=letter_logits.device),
                      torch.full((len(rows),), log_probs.shape[0]), torch.tensor([len(one) for one in known]), zero_infinity=True)


def losses(network: Whisper, teacher: Whisper | None, frozen: bool, read, mel, offsets, tokens, labels, letters) -> dict[str, torch.Tensor]:
    """The losses by name: the decoder's cross-entropy, the encoder's CTC unless it is frozen, and with a teacher the
    distances from its probabilities and from its encoder's output. `read` is one of the functions of reading.py."""
    with torch.set_grad_enabled(not frozen):
        encoded = network.model.encoder(mel, offsets)
    tokens, labels, learned = read(network, encoded, tokens, labels)
    logits = network.model.decoder(tokens, encoded).float()
    known = labels != IGNORED
    taught = known | learned
    log_probs = logits[taught].log_softmax(-1)
    found = dict(text=F.nll_loss(log_probs, labels[taught], ignore_index=IGNORED, reduction="sum") / known.sum().clamp_min(1))
    if not frozen:
        found["ctc"] = encoder_loss(network.ctc(encoded), letters)
    if teacher:
        with torch.no_grad():
            heard = encoded if frozen else teacher.model.encoder(mel, offsets)  # a frozen encoder is still the teacher's
            wanted = teacher.model.decoder(tokens, heard).float()
        if not frozen:
            found["heard"] = F.mse_loss(encoded.float(), heard.float())
        found["teacher"] = F.kl_div(log_probs[learned[taught]], wanted[learned].log_softmax(-1), log_target=True, reduction="batchmean")
    return found


def rate_at(step: int, arguments) -> float:
    """Warm-up, then half a cosine down to a fiftieth of the highest rate."""
    warm = min(1.0, (step + 1) / arguments.warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * step / arguments.steps))
    final = arguments.final_rate
    return arguments.rate * warm * (final + (1 - final) * cosine)


def make_optimizers(network: Whisper) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for the rest."""
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    matrices = [p for name, p in trained if p.dim() == 2 and ".layers." in name]
    rest = [p for name, p in trained if not (p.dim() == 2 and ".layers." in name)]
    return [torch.optim.Muon(matrices, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=0.0, foreach=True)]


class Trainer:
    """One rank: sums the gradients of its parts of a step, then takes the step together with the others."""

    def __init__(self, rank: int, arguments, tokens: Tokens):
        self.rank, self.arguments, self.special = rank, arguments, tokens
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.last = arguments.output / "last.pt"
        self.state: dict = {}
        if self.last.exists():
            network, self.state = load(self.last)
        elif arguments.start:
            network = read_network(arguments.start)
        else:
            network = Whisper(Shape(vocabulary=tokens.count))
        self.network = network.to(self.device)
        self.teacher = read_network(arguments.teacher).to(self.device).bfloat16() if arguments.teacher else None
        if arguments.freeze_encoder:
            self.network.model.encoder.requires_grad_(False)
            self.network.ctc.requires_grad_(False)
        self.working = copy.deepcopy(self.network).bfloat16()
        self.masters = [p for p in self.network.parameters() if p.requires_grad]
        self.copies = [p for p in self.working.parameters() if p.requires_grad]
        for master in self.masters:
            master.grad = torch.zeros_like(master)
        self.optimizers = make_optimizers(self.network)
        for optimizer, stored in zip(self.optimizers, self.state.get("optimizers", [])):
            optimizer.load_state_dict(stored)
        self.step, self.windows = self.state.get("step", 0), self.state.get("windows", 0)
        self.windows_here = 0  # of the step, in this rank
        self.begin = time.time() - self.state.get("seconds", 0.0)
        self.cpu_begin = time.process_time() - self.state.get("cpu_seconds", 0.0)
        self.sums: dict[str, list[float]] = {}
        self.log = open(arguments.output / "log.jsonl", "a") if rank == 0 else None

    def accumulate(self, kind, mel, offsets, tokens, labels, letters) -> None:
        """Adds the gradients of one part."""
        mel, offsets, tokens, labels = (t.to(self.device, non_blocking=True) for t in (mel.bfloat16(), offsets, tokens, labels))
        found = losses(self.working, self.teacher, self.arguments.freeze_encoder, self.reading(), mel, offsets, tokens, labels, letters)
        weights = dict(text=1, ctc=0.2 if self.step < self.arguments.steps / 2 else 0.1, teacher=1, heard=1)
        sum(weights[name] * loss for name, loss in found.items()).backward()
        for master, low in zip(self.masters, self.copies):
            if low.grad is not None:
                master.grad += low.grad.float()
                low.grad = None
        self.windows_here += len(tokens)
        for name, loss in found.items():
            self.sums.setdefault(kind if name == "text" else name, []).append(loss.item())

    def reading(self):
        """The decoder's input at this step."""
        done = self.step / self.arguments.steps
        if done >= self.arguments.own_texts_from:
            return partial(own_texts, self.special)
        return partial(own_words, self.special) if done >= self.arguments.own_words_from else right_texts

    def average(self) -> None:
        """Divides the sums of gradients by the number of parts of the step."""
        flat = torch.cat([*(master.grad.flatten() for master in self.masters), self.masters[0].new_tensor([self.windows_here])])
        if self.arguments.ranks > 1:
            distributed.all_reduce(flat)
        self.windows += int(flat[-1])
        self.windows_here = 0
        flat = flat[:-1] / self.arguments.parts
        for master, grad in zip(self.masters, flat.split([p.numel() for p in self.masters])):
            master.grad.copy_(grad.view_as(master))

    def finish(self) -> None:
        """Takes the step, and sets the gradients to zero."""
        self.average()
        norm = torch.nn.utils.clip_grad_norm_(self.masters, 1.0, foreach=True)
        rate = rate_at(self.step, self.arguments)
        for optimizer, factor in zip(self.optimizers, (MATRIX_RATE, 1)):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            if torch.isfinite(norm):
                optimizer.step()
            optimizer.zero_grad(set_to_none=False)
        with torch.no_grad():
            torch._foreach_copy_(self.copies, self.masters)
        self.step += 1
        if self.rank == 0:
            self.report(rate)

    def report(self, rate: float) -> None:
        progress = dict(step=self.step, seconds=round(time.time() - self.begin, 1),
                        cpu_seconds=round(time.process_time() - self.cpu_begin, 1), windows=self.windows)
        if self.step % 100 == 0:
            means = {name: round(sum(values) / len(values), 4) for name, values in self.sums.items()}
            print(json.dumps(progress | dict(rate=round(rate, 7), **means)), file=self.log, flush=True)
            self.sums = {}
        if self.step % self.arguments.snapshot == 0 or self.step == self.arguments.steps:
            save(self.arguments.output / f"step-{self.step:06}.pt", self.network, **progress)
            temporary = self.last.with_suffix(".tmp")
            save(temporary, self.network, optimizers=[optimizer.state_dict() for optimizer in self.optimizers], **progress)
            os.replace(temporary, self.last)


def claims(counter, first: int, end: int):
    """Numbers of parts that no other rank has. Faster ranks get more, so that none waits long."""
    while True:
        with counter.get_lock():
            number = first + counter.value
            counter.value += 1
        if number >= end:
            return
        yield number


def run(rank: int, arguments, counter) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    if arguments.ranks > 1:
        distributed.init_process_group("gloo", init_method=f"file://{arguments.output.resolve()}/meeting-{os.getppid()}",
                                       rank=rank, world_size=arguments.ranks)
    tokens = Tokens(arguments.tokenizer)
    trainer, parts, gpu = Trainer(rank, arguments, tokens), arguments.parts, torch.cuda.is_available()
    batches = Batches(Corpus(arguments.data), tokens, arguments.frames // parts, parts, arguments.seed,
                      arguments.steps * parts, early=arguments.start is None, whole_from=arguments.own_texts_from)
    numbers = claims(counter, trainer.step * parts, arguments.steps * parts)
    loader = torch.utils.data.DataLoader(batches, batch_size=None, sampler=list(numbers) if gpu else numbers,
                                         num_workers=arguments.loaders if gpu else 0, pin_memory=gpu)
    for number, *batch in loader:
        while trainer.step < number // parts:
            trainer.finish()
        trainer.accumulate(*batch)
    while trainer.step < arguments.steps:
        trainer.finish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of synthesize.py")
    parser.add_argument("tokenizer", type=Path, help="folder of make_tokenizer.py, or a model that has one")
    parser.add_argument("output", type=Path)
    parser.add_argument("--from", dest="start", type=Path, help="checkpoint or model folder to start with, instead of random weights")
    parser.add_argument("--teacher", type=Path, help="checkpoint whose probabilities and encoder output are learned, besides the texts")
    parser.add_argument("--freeze-encoder", action="store_true", help="trains only the decoder; a teacher must have the same encoder")
    parser.add_argument("--own-words-from", type=float, default=1.0,
                        help="from this share of the steps on, some words of the decoder's input are its own")
    parser.add_argument("--own-texts-from", type=float, default=1.0,
                        help="from this share of the steps on, its input is its own text, and a teacher continues it")
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--final-rate", type=float, default=FINAL_RATE, help="the last learning rate, as a share of the highest")
    parser.add_argument("--warmup", type=int, default=300, help="steps")
    parser.add_argument("--frames", type=int, default=16000, help="10 ms frames of audio in a step")
    parser.add_argument("--parts", type=int, default=8, help="batches of a step, divided among the ranks")
    parser.add_argument("--snapshot", type=int, default=1000, help="steps between checkpoints")
    parser.add_argument("--ranks", type=int, default=4, help="processes on a CPU")
    parser.add_argument("--loaders", type=int, default=8, help="processes that prepare batches for a GPU")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.own_texts_from < 1 and not arguments.teacher:
        parser.error("--own-texts-from needs a --teacher, since only a teacher knows how such texts continue")
    arguments.output.mkdir(parents=True, exist_ok=True)
    counter = get_context("spawn").Value("q", 0)
    if torch.cuda.is_available() or arguments.ranks == 1:
        arguments.ranks = 1
        run(0, arguments, counter)
    else:
        spawn(run, (arguments, counter), nprocs=arguments.ranks)


if __name__ == "__main__":
    main()
