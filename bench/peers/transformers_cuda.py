"""Measures transformers' Whisper with torch; prints a JSON list with an entry for each mode.

    python transformers_cuda.py CHECKPOINT --batch 1

Modes: eager with sdpa and a growing cache (as in `pipeline`), and a static cache with a compiled decoder.
"""

import argparse
import json
import statistics
import sys
import time

import numpy as np
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration


def milliseconds(work, device, repeats):
    """The median of `repeats` runs, after a warm-up run."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    device = arguments.device

    model = WhisperForConditionalGeneration.from_pretrained(
        arguments.checkpoint, dtype=getattr(torch, arguments.dtype), attn_implementation="sdpa").to(device).eval()
    extractor = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
    samples = (0.1 * np.sin(np.arange(480000, dtype=np.float64) ** 2 * 1e-6)).astype(np.float32)
    features = extractor(samples, sampling_rate=16000, return_tensors="pt").input_features
    features = features.repeat(arguments.batch, 1, 1).to(device, model.dtype)
    tokens = {}

    def generate(count):
        ids = model.generate(features, language="en", task="transcribe", do_sample=False, num_beams=1,
                             min_new_tokens=count, max_new_tokens=count, return_timestamps=False)
        tokens[count] = ids[0, -count:].tolist()

    results = []
    modes = ["eager sdpa"] + ([] if arguments.no_compile else ["static cache, compiled"])
    for mode in modes:
        try:
            if mode != "eager sdpa":
                model.generation_config.cache_implementation = "static"
                model.forward = torch.compile(model.forward, mode="reduce-overhead", fullgraph=True)
                for _ in range(2):
                    generate(8)
            times = {"encoder": milliseconds(lambda: model.get_encoder()(features), device, arguments.repeats)}
            for count in (25, 256):
                times[str(count)] = milliseconds(lambda: generate(count), device, arguments.repeats)
            results.append(dict(system="transformers", mode=mode, milliseconds=times, tokens=tokens[256]))
        except Exception as error:  # if this torch does not support a mode, the other is still measured
            print(f"{mode}: {error}", file=sys.stderr)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
