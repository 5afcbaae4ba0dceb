"""Draws the figures of the model cards.

    python plot.py curve LOG.jsonl ... OUTPUT.svg   loss against windows, from the logs of train.py, one for each stage
    python plot.py voices REPORT.json OUTPUT.svg    word error rate by voice, from the report of evaluate.py
    python plot.py heads HEADS.json OUTPUT.svg      word error rate against time, from the output of compare_heads.py
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.hashsalt": "onehead", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
import matplotlib.pyplot as plt  # noqa: E402

from synthesize import HELD_OUT_NATURAL, UNSEEN  # noqa: E402

KNOWN_COLOUR, UNSEEN_COLOUR = "#3b6ea5", "#c8702a"
NAMES = {"multi-head": "multi-head control", "multi-query-decoder": "multi-query decoder", "multi-query": "multi-query everywhere",
         "two-heads-decoder": "2 key/value heads in the decoder", "two-heads": "2 key/value heads everywhere"}


def curve(*paths: Path, axes) -> None:
    lines, before = [], 0
    for path in paths:
        # After an interruption some steps occur twice; the later ones count.
        stage = {line["step"]: line for line in map(json.loads, path.read_text().splitlines())}
        lines += [line | dict(windows=before + line["windows"]) for line in stage.values()]
        before = lines[-1]["windows"]
        if path != paths[-1]:
            axes.axvline(before / 1000, color="grey", linewidth=0.8, linestyle=":")
    for kind, label in (("packed", "several utterances in a window"), ("full", "one in a whole window"), ("short", "one in a short window")):
        points = [(line["windows"] / 1000, line[kind]) for line in lines if kind in line]
        axes.plot(*zip(*points), label=label, linewidth=1.2)
    axes.set(xlabel="thousand windows of training", ylabel="cross-entropy, nats a token", yscale="log")
    axes.grid(alpha=0.3, which="both")
    ticks = [0.1, 0.2, 0.5, 1, 2, 5]
    axes.set_yticks(ticks, ticks)
    axes.yaxis.set_minor_formatter("")
    axes.legend(frameon=False)


def voices(path: Path, axes) -> None:
    report = json.loads(path.read_text())["voices"]
    order = sorted(report, key=lambda name: report[name]["words"], reverse=True)
    colours = [UNSEEN_COLOUR if name in (UNSEEN, HELD_OUT_NATURAL) else KNOWN_COLOUR for name in order]
    bars = axes.barh(order, [report[name]["words"] for name in order], color=colours)
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set(xlabel="word error rate, %")
    axes.legend([plt.Rectangle((0, 0), 1, 1, color=colour) for colour in (KNOWN_COLOUR, UNSEEN_COLOUR)],
                ["in training", "not in training"], frameon=False, loc="upper right")


def heads(path: Path, axes) -> None:
    for variant, points in json.loads(path.read_text()).items():
        axes.plot([point["seconds"] / 60 for point in points[1:]], [point["known"] for point in points[1:]], marker="o", markersize=4,
                  label=NAMES[variant])
    axes.set(xlabel="minutes of further training on one core", ylabel="word error rate, known voices, %", yscale="log")
    axes.set_ylim(1, 20)
    axes.set_yticks([1, 2, 5, 10, 20], [1, 2, 5, 10, 20])
    axes.yaxis.set_minor_formatter("")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["curve", "voices", "heads"])
    parser.add_argument("source", type=Path, nargs="+", help="a file; several for curve")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    dict(curve=curve, voices=voices, heads=heads)[arguments.kind](*arguments.source, axes=axes)
    figure.savefig(arguments.output, metadata={"Date": None})


if __name__ == "__main__":
    main()
