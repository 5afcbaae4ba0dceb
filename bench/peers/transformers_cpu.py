"""Measures transformers' Whisper with torch on a CPU; prints a JSON object.

    python transformers_cpu.py CHECKPOINT --dtype bfloat16 --threads 2

Run each measurement in a separate process, since the peak memory is that of the process.
"""

import argparse

import numpy as np
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from timing import add_options, milliseconds, report

SIZES = {"tiny": (384, 4, 6), "base": (512, 6, 8), "small": (768, 12, 12)}


def configuration(model):
    """The configuration of one of SIZES, with the tokens of the multilingual checkpoints and no suppressed tokens."""
    width, layers, heads = SIZES[model]
    return WhisperConfig(
        d_model=width, encoder_layers=layers, decoder_layers=layers, encoder_attention_heads=heads, decoder_attention_heads=heads,
        encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width, vocab_size=51865, decoder_start_token_id=50258, eos_token_id=50257,
        pad_token_id=50257, bos_token_id=50257, begin_suppress_tokens=None, suppress_tokens=None)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], required=True)
    add_options(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    dtype = getattr(torch, arguments.dtype)
    model = WhisperForConditionalGeneration.from_pretrained(arguments.checkpoint, dtype=dtype, attn_implementation="sdpa").eval()
    model.generation_config.update(no_timestamps_token_id=50363, is_multilingual=False)
    extractor = WhisperFeatureExtractor()
    samples = (0.1 * np.sin(np.arange(480000) ** 2 * 1e-6)).astype(np.float32)
    log_mel = milliseconds(lambda: extractor(samples, sampling_rate=16000, return_tensors="pt"), arguments.repeats, arguments)
    features = extractor(samples, sampling_rate=16000, return_tensors="pt").input_features.to(dtype)
    encoder = milliseconds(lambda: model.model.encoder(features), arguments.repeats, arguments)
    encoded = BaseModelOutput(model.model.encoder(features).last_hidden_state)

    def decode(tokens):
        """Greedy decoding of `tokens` tokens from a given encoder output, with KV caches."""
        ids = torch.tensor([[50258, 50363]])
        cache = None
        for _ in range(tokens):
            step = model(encoder_outputs=encoded, decoder_input_ids=ids, past_key_values=cache, use_cache=True)
            cache = step.past_key_values
            scores = step.logits[:, -1].float()
            scores[:, 50257] = -torch.inf
            ids = scores.argmax(-1, keepdim=True)

    per_token = {str(count): milliseconds(lambda: decode(count), max(1, arguments.repeats // 2), arguments) / count for count in (25, 256)}
    report(logMelMilliseconds=log_mel, encoderMilliseconds=encoder, decodeMillisecondsPerToken=per_token)


if __name__ == "__main__":
    main()
