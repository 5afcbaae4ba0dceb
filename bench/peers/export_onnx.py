"""Exports a Whisper checkpoint to ONNX in float32: encoder.onnx, and step.onnx (one token, with caches).

With --quantize int8, also writes encoder.int8.onnx and step.int8.onnx, with ONNX Runtime's quantize_dynamic.

    python export_onnx.py CHECKPOINT OUTPUT [--quantize int8]
"""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from transformers import WhisperForConditionalGeneration


def joined(*products):
    """Fuses linear layers with the same input."""
    whole = nn.Linear(products[0].in_features, sum(product.out_features for product in products))
    biases = [torch.zeros(product.out_features) if product.bias is None else product.bias for product in products]
    whole.weight, whole.bias = nn.Parameter(torch.cat([product.weight for product in products])), nn.Parameter(torch.cat(biases))
    return whole


class Layer(nn.Module):
    def __init__(self, layer, heads):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([layer.self_attn_layer_norm, layer.encoder_attn_layer_norm, layer.final_layer_norm])
        attention, cross = layer.self_attn, layer.encoder_attn
        self.self_projection, self.self_out = joined(attention.q_proj, attention.k_proj, attention.v_proj), attention.out_proj
        self.cross_query, self.cross_out = cross.q_proj, cross.out_proj
        self.up, self.down = layer.fc1, layer.fc2

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
    """From token [1, 1], position [1] and caches [1, heads, length, head size] to logits [1, vocabulary] and the longer
    caches."""

    def __init__(self, decoder, heads):
        super().__init__()
        self.tokens = decoder.embed_tokens
        self.positions = nn.Embedding.from_pretrained(decoder.embed_positions.weight)
        self.layers = nn.ModuleList(Layer(layer, heads) for layer in decoder.layers)
        self.norm = decoder.layer_norm

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
    parser.add_argument("checkpoint")
    parser.add_argument("output", type=Path)
    parser.add_argument("--quantize", choices=["int8"])
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    model = WhisperForConditionalGeneration.from_pretrained(arguments.checkpoint, dtype=torch.float32, attn_implementation="sdpa").eval()
    config = model.config
    heads, audio = config.decoder_attention_heads, config.max_source_positions
    torch.onnx.export(model.model.encoder, (torch.zeros(1, config.num_mel_bins, 2 * audio),), arguments.output / "encoder.onnx", dynamo=False,
                      input_names=["features"], output_names=["encoded"], opset_version=17)
    step = Step(model.model.decoder, heads).eval()
    size = config.d_model // heads
    caches, names, present, axes = [], [], [], {}
    for layer in range(config.decoder_layers):
        for name, length in (("key", 3), ("value", 3), ("cross_key", audio), ("cross_value", audio)):
            caches.append(torch.zeros(1, heads, length, size))
            names.append(f"{name}.{layer}")
            if length == 3:
                present.append(f"present_{name}.{layer}")
                axes[names[-1]] = axes[present[-1]] = {2: "length"}
    torch.onnx.export(step, (torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), *caches),
                      arguments.output / "step.onnx", dynamo=False, input_names=["token", "position", *names],
                      output_names=["logits", *present], dynamic_axes=axes, opset_version=17)
    if arguments.quantize:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        for name in ("encoder", "step"):
            # Convolutions are not quantized, as in onehead and CTranslate2.
            quantize_dynamic(arguments.output / f"{name}.onnx", arguments.output / f"{name}.int8.onnx",
                             op_types_to_quantize=["MatMul", "Gemm", "Gather"], per_channel=True, weight_type=QuantType.QInt8)


if __name__ == "__main__":
    main()
