"""Measures decoding by transformers' generate() with random weights. Prints a JSON object with the milliseconds per
token and window of each method.

    python transformers_decode.py --model tiny --dtype bfloat16 --threads 2
"""

import argparse
import json
import time

import torch
from transformers import WhisperForConditionalGeneration
from transformers.generation import GenerationConfig, GenerationMixin
from transformers.modeling_outputs import BaseModelOutput

from transformers_cpu import SIZES, configuration


def best(work, repeats):
    """The minimum milliseconds of `repeats` runs, after a warm-up run."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return min(times[1:])


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=SIZES, required=True)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    config = configuration(arguments.model)
    results = {}
    for attention in ("sdpa", "eager"):
        model = WhisperForConditionalGeneration._from_config(config, dtype=getattr(torch, arguments.dtype), attn_implementation=attention).eval()

        def run(windows, beams):
            encoded = BaseModelOutput(torch.randn(windows, 1500, config.d_model, dtype=model.dtype))
            settings = GenerationConfig(
                num_beams=beams, min_new_tokens=arguments.tokens, max_new_tokens=arguments.tokens, do_sample=False, eos_token_id=50257,
                pad_token_id=50257, decoder_start_token_id=50258, output_attentions=attention == "eager", return_dict_in_generate=True)
            start = torch.full((windows, 2), 50258)
            # The general generate(): Whisper's version adds rules and windows, which are not measured here.
            work = lambda: GenerationMixin.generate(model, encoder_outputs=encoded, decoder_input_ids=start, generation_config=settings)
            return best(work, arguments.repeats) / arguments.tokens / windows

        words = ", words" if attention == "eager" else ""  # only eager attention returns the attention weights
        results[f"greedy{words}"] = run(1, 1)
        if attention == "sdpa":
            results["beams 5"] = run(1, 5)
            results[f"greedy, {arguments.batch} windows"] = run(arguments.batch, 1)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
