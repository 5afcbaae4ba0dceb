"""Makes the training and the held-out utterances.

    python synthesize.py DATA [--espeak 46000 --flite 36000 --festival 24000 --pico 16000] [--workers 4]

Files in the folder DATA:

- `train-N.mel.npy` for each worker N: float16 log-mel frames of all utterances
- `train-N.json`: text, voice and position of each utterance
- `noise-N.mel.npy`: sounds of 10 s without words
- `held-out.pcm.npy`, `held-out.json`: 16-bit samples of the held-out utterances, and their texts

The seed determines sentences, voices and noises; those of an engine do not depend on the number for other engines. The
training texts contain no sentence of held-out.txt, which the held-out utterances speak, and none of excluded.txt, which
other recordings of this repository speak. Capitals and punctuation are ignored in this comparison.
"""

import argparse
import json
import random
import time
from multiprocessing import Process
from pathlib import Path

import numpy as np
import torch

from features import HOP, SAMPLE_RATE, WINDOW_FRAMES, log_mel
from noises import wordless
from sentences import EXCLUDED_TEXTS, HELD_OUT_TEXTS, normalized, sentence
from voices import ESPEAK_HELD_OUT, FLITE, FLITE_HELD_OUT, NATURAL, Speakers, Voice, describe, training_voice

LONGEST = 9.4 * SAMPLE_RATE  # a window of 10 s must fit it with some silence around
ENGINES = ("festival", "flite", "pico", "espeak")
KNOWN, UNSEEN, HELD_OUT_NATURAL = "espeak-ng known", "espeak-ng unseen", "flite awb"


def held_out_jobs(texts: list[str], rng: random.Random) -> list[dict]:
    """Every voice says the same sentences, so that their word error rates can be compared."""
    jobs = []
    for text in texts:
        known = training_voice("espeak", rng)
        known.resample = 1.0
        speakers = {KNOWN: known, UNSEEN: Voice("espeak", rng.choice(ESPEAK_HELD_OUT), pitch=rng.randint(40, 60),
                                                speed=rng.randint(135, 180))}
        for label, (engine, name) in NATURAL.items():
            speakers[label] = Voice(engine, name, stretch=rng.uniform(0.95, 1.1))
        jobs += [dict(text=text, set=label, voice=voice) for label, voice in speakers.items()]
    return jobs


def plan(arguments) -> tuple[list[dict], list[dict]]:
    """Held-out and training jobs, the same for each seed."""
    texts = HELD_OUT_TEXTS.read_text().splitlines()
    excluded = {normalized(line) for line in [*texts, *EXCLUDED_TEXTS.read_text().splitlines()]}
    held_out = held_out_jobs(texts, random.Random(f"{arguments.seed} held out"))
    jobs = []
    for engine in ENGINES:
        rng = random.Random(f"{arguments.seed} {engine}")
        for _ in range(getattr(arguments, engine)):
            plain = None
            while plain is None or plain in excluded:
                text = sentence(rng)
                plain = normalized(text)
            jobs.append(dict(text=text, set="train", voice=training_voice(engine, rng)))
    return held_out, jobs


def batches(jobs: list[dict], size: int = 200) -> list[list[dict]]:
    """Jobs that use a single engine each."""
    found = []
    for engine in ENGINES:
        of_engine = [job for job in jobs if job["voice"].engine == engine]
        found += [of_engine[i : i + size] for i in range(0, len(of_engine), size)]
    return found


def work(jobs: list[dict], name: str, arguments, keep_audio: bool) -> None:
    """Synthesizes one worker's jobs, and writes the results."""
    if not jobs:
        return
    torch.set_num_threads(1)
    begin, parts, entries, offset, samples_total = time.time(), [], [], 0, 0
    with Speakers() as speakers:
        for number, batch in enumerate(batches(jobs)):
            for job, samples in zip(batch, speakers.speak([(job["text"], job["voice"]) for job in batch])):
                if samples is None or not 1600 <= len(samples) <= LONGEST:
                    continue
                part = (samples * 32767).round().astype(np.int16) if keep_audio else log_mel(samples).astype(np.float16)
                parts.append(part)
                entries.append(dict(text=job["text"], set=job["set"], voice=describe(job["voice"]), offset=offset,
                                    length=len(part), frames=len(samples) // HOP))
                offset += len(part)
                samples_total += len(samples)
            if number % 20 == 0:
                print(f"{name}: {len(entries)} of {len(jobs)} utterances, {samples_total / SAMPLE_RATE / 3600:.2f} h, "
                      f"{time.time() - begin:.0f} s", flush=True)
    np.save(arguments.data / f"{name}.{'pcm' if keep_audio else 'mel'}.npy", np.concatenate(parts))
    (arguments.data / f"{name}.json").write_text(json.dumps(entries))
    print(f"{name}: done, {len(entries)} utterances, {samples_total / SAMPLE_RATE / 3600:.2f} h, {time.time() - begin:.0f} s", flush=True)


def make_noise(count: int, seed: int, path: Path) -> None:
    if not count:
        return
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    np.save(path, np.concatenate([log_mel(wordless(rng))[:WINDOW_FRAMES].astype(np.float16) for _ in range(count)]))


def worker(index: int, held_out: list[dict], jobs: list[dict], arguments) -> None:
    if index == 0:
        work(held_out, "held-out", arguments, keep_audio=True)
    make_noise(arguments.noise // arguments.workers, arguments.seed + index, arguments.data / f"noise-{index}.mel.npy")
    work(jobs[index :: arguments.workers], f"train-{index}", arguments, keep_audio=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder to write to")
    parser.add_argument("--espeak", type=int, default=46000, help="training utterances")
    parser.add_argument("--flite", type=int, default=36000)
    parser.add_argument("--festival", type=int, default=24000)
    parser.add_argument("--pico", type=int, default=16000)
    parser.add_argument("--noise", type=int, default=1200, help="sounds of 10 s without words")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=20261121)
    arguments = parser.parse_args()
    arguments.data.mkdir(parents=True, exist_ok=True)
    held_out, jobs = plan(arguments)
    workers = [Process(target=worker, args=(index, held_out, jobs, arguments)) for index in range(arguments.workers)]
    for process in workers:
        process.start()
    for process in workers:
        process.join()
    if any(process.exitcode for process in workers):
        raise SystemExit("a worker failed")


if __name__ == "__main__":
    main()
