"""Compares numbers of key/value heads: trains a checkpoint further with each of them, and measures word error rates.

    python compare_heads.py CHECKPOINT DATA TOKENIZER OUTPUT [--after EARLIER ...] [--steps 5000] [--snapshots 5]

- All variants have the same batches, number of steps and learning rates. The control keeps all its heads.
- Each learns the texts, the checkpoint's probabilities, and the output of its encoder.
- If the encoder's heads are unchanged, the encoder is not trained, which takes half of the time.
- Each variant is trained in a separate process, which continues after an interruption.
- With outputs of EARLIER rounds, training continues from the last of these.

Writes the word error rates of all rounds to OUTPUT/heads.json, and the networks to OUTPUT/VARIANT/last.pt.
"""

import argparse
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
# Key/value heads of the encoder, of the decoder's self-attention and of its cross-attention.
VARIANTS = {"multi-head": (4, 4, 4), "multi-query-decoder": (4, 1, 1), "multi-query": (1, 1, 1), "two-heads": (2, 2, 2),
            "two-heads-decoder": (4, 2, 2)}


def call(script: str, *arguments) -> None:
    subprocess.run([sys.executable, HERE / script, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def folders(arguments) -> list[Path]:
    return [*arguments.after, arguments.output]


def snapshots(folder: Path, variant: str) -> list[Path]:
    return sorted((folder / variant).glob("step-*.pt"))


def train(variant: str, arguments) -> None:
    folder = arguments.output / variant
    folder.mkdir(parents=True, exist_ok=True)
    start = folder / "step-000000.pt"
    encoder, decoder, cross = VARIANTS[variant]
    if not start.exists():
        if arguments.after:
            shutil.copy(snapshots(arguments.after[-1], variant)[-1], start)
        else:
            call("convert_heads.py", arguments.checkpoint, start, "--encoder", encoder, "--decoder", decoder, "--cross", cross)
    call("train.py", arguments.data, arguments.tokenizer, folder, "--from", start, "--steps", arguments.steps, "--rate", arguments.rate,
         "--warmup", 100, "--ranks", 1, "--parts", 1, "--frames", arguments.frames, "--snapshot", arguments.steps // arguments.snapshots,
         "--seed", arguments.seed, "--teacher", arguments.checkpoint, "--own-words-from", arguments.own_words_from,
         "--own-texts-from", arguments.own_texts_from,
         *(["--freeze-encoder"] if encoder == VARIANTS["multi-head"][0] else []))


def measure(checkpoint: Path, arguments) -> dict:
    report = checkpoint.with_suffix(".json")
    if not report.exists():
        call("evaluate.py", checkpoint, arguments.data, "--tokenizer", arguments.tokenizer, "--quick", "--sentences", arguments.sentences,
             "--output", report)
    return json.loads(report.read_text())


def course(variant: str, arguments) -> list[dict]:
    """Word error rates of a variant, by the windows and seconds of its training since its heads were averaged."""
    points: list[dict] = []
    for folder in folders(arguments):
        before = points[-1] if points else dict(windows=0, seconds=0.0)
        logged = {line["step"]: line for line in map(json.loads, open(folder / variant / "log.jsonl"))}
        # The first snapshot of a later round is the last one of the round before.
        for path in snapshots(folder, variant)[1 if points else 0 :]:
            line = logged.get(int(path.stem.removeprefix("step-")), dict(windows=0, cpu_seconds=0.0))
            report = measure(path, arguments)
            points.append(dict(windows=before["windows"] + line["windows"], seconds=round(before["seconds"] + line["cpu_seconds"], 1),
                               known=report["known voices"]["words"],
                               voices={name: figures["words"] for name, figures in report["voices"].items()}))
    return points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path, help="folder of synthesize.py")
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--after", type=Path, nargs="+", default=[], help="outputs of earlier rounds in order, to continue from")
    parser.add_argument("--own-words-from", type=float, default=1.0, help="as for train.py")
    parser.add_argument("--own-texts-from", type=float, default=1.0, help="as for train.py")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--frames", type=int, default=3000, help="10 ms frames of audio in a step")
    parser.add_argument("--rate", type=float, default=3e-4, help="highest learning rate")
    parser.add_argument("--snapshots", type=int, default=5, help="number of measurements")
    parser.add_argument("--sentences", type=int, default=160, help="number of held-out sentences for a measurement")
    parser.add_argument("--processes", type=int, default=4, help="concurrent trainings or measurements")
    arguments = parser.parse_args()
    with ThreadPoolExecutor(arguments.processes) as pool:
        list(pool.map(lambda variant: train(variant, arguments), VARIANTS))
        measured = [path for variant in VARIANTS for folder in folders(arguments) for path in snapshots(folder, variant)]
        list(pool.map(lambda path: measure(path, arguments), measured))
    result = {variant: course(variant, arguments) for variant in VARIANTS}
    (arguments.output / "heads.json").write_text(json.dumps(result, indent=1) + "\n")
    for variant, points in result.items():
        print(f"{variant:20}", *(f"{point['known']:6.2f}" for point in points))


if __name__ == "__main__":
    main()
