"""Measures transformers' Whisper on torch's CPU with random weights of a true shape; prints one JSON object.

    python transformers_cpu.py --model tiny --dtype bfloat16 --threads 2

Run each measurement in a process of its own: the peak memory is the process's.
"""

import argparse
import json
import resource
import statistics
import time

import numpy as np
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

SIZES = {"tiny": (384, 4, 6), "base": (512, 6, 8), "small": (768, 12, 12)}


def configuration(model):
    """Of one of SIZES, with the tokens of the multilingual checkpoints and nothing suppressed."""
    width, layers, heads = SIZES[model]
    return WhisperConfig(
        d_model=width, encoder_layers=layers, decoder_layers=layers, encoder_attention_heads=heads, decoder_attention_heads=heads,
        encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width, vocab_size=51865, decoder_start_token_id=50258, eos_token_id=50257,
        pad_token_id=50257, bos_token_id=50257, begin_suppress_tokens=None, suppress_tokens=None)


def milliseconds(work, repeats):
    """Median of `repeats` runs after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=SIZES, required=True)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    dtype = getattr(torch, arguments.dtype)
    model = WhisperForConditionalGeneration._from_config(configuration(arguments.model), dtype=dtype, attn_implementation="sdpa").eval()
    model.generation_config.update(no_timestamps_token_id=50363, is_multilingual=False)
    extractor = WhisperFeatureExtractor()
    samples = (0.1 * np.sin(np.arange(480000) ** 2 * 1e-6)).astype(np.float32)
    log_mel = milliseconds(lambda: extractor(samples, sampling_rate=16000, return_tensors="pt"), arguments.repeats)
    features = extractor(samples, sampling_rate=16000, return_tensors="pt").input_features.to(dtype)
    encoder = milliseconds(lambda: model.model.encoder(features), arguments.repeats)
    encoded = BaseModelOutput(model.model.encoder(features).last_hidden_state)

    def decode(tokens):
        """Greedy decoding of a forced length from a given encoder output: the decoder alone, with its caches."""
        ids = torch.tensor([[50258, 50363]])
        cache = None
        for _ in range(tokens):
            step = model(encoder_outputs=encoded, decoder_input_ids=ids, past_key_values=cache, use_cache=True)
            cache = step.past_key_values
            scores = step.logits[:, -1].float()
            scores[:, 50257] = -torch.inf
            ids = scores.argmax(-1, keepdim=True)

    per_token = {str(count): milliseconds(lambda: decode(count), max(1, arguments.repeats // 2)) / count for count in (25, 256)}
    print(json.dumps(dict(
        logMelMilliseconds=log_mel, encoderMilliseconds=encoder, decodeMillisecondsPerToken=per_token,
        peakMemoryMiB=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)))


if __name__ == "__main__":
    main()
