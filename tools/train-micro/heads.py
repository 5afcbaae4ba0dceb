"""Shared key/value heads: averages separate heads, and repeats shared ones for software that supports only separate
ones."""

import torch

from network import Shape


def kv_heads_of(name: str, shape: Shape) -> int | None:
    """The number of key/value heads of the tensor with this name in the state dict; None for other tensors."""
    if ".k_proj." not in name and ".v_proj." not in name:
        return None
    if ".encoder.layers" in name:
        return shape.encoder_kv_heads
    return shape.cross_kv_heads if ".encoder_attn." in name else shape.decoder_kv_heads


def pooled(weights: dict[str, torch.Tensor], before: Shape, after: Shape) -> dict[str, torch.Tensor]:
    """Each of the fewer heads becomes the mean of the neighbouring heads that it replaces."""
    result = {}
    for name, tensor in weights.items():
        old, new = kv_heads_of(name, before), kv_heads_of(name, after)
        if old != new:
            tensor = tensor.unflatten(0, (new, old // new, before.head_size)).mean(1).flatten(0, 1)
        result[name] = tensor
    return result


def repeated(weights: dict[str, torch.Tensor], shape: Shape) -> dict[str, torch.Tensor]:
    """Repeats heads to one key/value head for each query head; the network computes the same."""
    result = {}
    for name, tensor in weights.items():
        heads = kv_heads_of(name, shape)
        if heads is not None and heads != shape.heads:
            tensor = tensor.unflatten(0, (heads, shape.head_size)).repeat_interleave(shape.heads // heads, 0).flatten(0, 1)
        result[name] = tensor.contiguous()
    return result
