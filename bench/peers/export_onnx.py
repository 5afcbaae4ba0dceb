"""Exports Whisper of a true shape with random weights to ONNX: encoder.onnx, and step.onnx (one token, with caches), float32.

    python export_onnx.py --model tiny OUTPUT
"""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

SIZES = {"tiny": (384, 4, 6), "base": (512, 6, 8), "small": (768, 12, 12)}
VOCABULARY, POSITIONS, AUDIO = 51865, 448, 1500


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.self_projection, self.self_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.cross_query, self.cross_out = nn.Linear(width, width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x, keys, values, cross_keys, cross_values):
        query, key, value = self.self_projection(self.norms[0](x)).chunk(3, -1)
        keys = torch.cat([keys, self.split(key)], 2)
        values = torch.cat([values, self.split(value)], 2)
        mixed = functional.scaled_dot_product_attention(self.split(query), keys, values)
        x = x + self.self_out(mixed.transpose(1, 2).flatten(2))
        query = self.split(self.cross_query(self.norms[1](x)))
        mixed = functional.scaled_dot_product_attention(query, cross_keys, cross_values)
        x = x + self.cross_out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.norms[2](x)))), keys, values


class Step(nn.Module):
    """token [1, 1], position [1], caches [1, heads, length, head size] to logits [1, vocabulary] and the longer caches."""

    def __init__(self, width, layers, heads):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, width), nn.Embedding(POSITIONS, width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, token, position, *caches):
        x = self.tokens(token) + self.positions(position)
        present = []
        for index, layer in enumerate(self.layers):
            x, keys, values = layer(x, *caches[4 * index: 4 * index + 4])
            present += [keys, values]
        return (self.norm(x)[:, -1] @ self.tokens.weight.T, *present)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=SIZES, required=True)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    width, layers, heads = SIZES[arguments.model]
    config = WhisperConfig(d_model=width, encoder_layers=layers, encoder_attention_heads=heads, encoder_ffn_dim=4 * width)
    encoder = WhisperEncoder._from_config(config, attn_implementation="sdpa").eval()
    torch.onnx.export(encoder, (torch.zeros(1, 80, 2 * AUDIO),), arguments.output / "encoder.onnx", dynamo=False,
                      input_names=["features"], output_names=["encoded"], opset_version=17)
    step = Step(width, layers, heads).eval()
    size = width // heads
    caches, names, present, axes = [], [], [], {}
    for layer in range(layers):
        for name, length in (("key", 3), ("value", 3), ("cross_key", AUDIO), ("cross_value", AUDIO)):
            caches.append(torch.zeros(1, heads, length, size))
            names.append(f"{name}.{layer}")
            if length == 3:
                present.append(f"present_{name}.{layer}")
                axes[names[-1]] = axes[present[-1]] = {2: "length"}
    torch.onnx.export(step, (torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), *caches),
                      arguments.output / "step.onnx", dynamo=False, input_names=["token", "position", *names],
                      output_names=["logits", *present], dynamic_axes=axes, opset_version=17)


if __name__ == "__main__":
    main()
