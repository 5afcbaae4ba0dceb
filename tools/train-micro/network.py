"""Whisper for training: the names of Hugging Face's state dict, any number of key/value heads, windows of any length.

transformers' encoder requires whole windows of 1000 frames. Most training utterances are shorter, so they cost less.
"""

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

LETTERS = {letter: index + 1 for index, letter in enumerate("abcdefghijklmnopqrstuvwxyz' ")}  # of the CTC head, 0 is its blank


@dataclass
class Shape:
    width: int = 128
    heads: int = 4
    encoder_layers: int = 6
    decoder_layers: int = 3
    vocabulary: int = 3266
    encoder_kv_heads: int = 4
    decoder_kv_heads: int = 4
    cross_kv_heads: int = 4
    mels: int = 80
    audio_positions: int = 500
    text_positions: int = 192

    @property
    def head_size(self) -> int:
        return self.width // self.heads


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, kv_heads: int):
        super().__init__()
        self.heads, self.kv_heads, self.size = heads, kv_heads, width // heads
        self.k_proj = nn.Linear(width, kv_heads * self.size, bias=False)
        self.v_proj = nn.Linear(width, kv_heads * self.size)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def split(self, projected):
        return projected.unflatten(-1, (-1, self.size)).transpose(1, 2)  # [batch, heads, positions, size]

    def keys_values(self, memory):
        """Keys and values of memory [batch, sources, width], one for each query head."""
        k, v = (self.split(layer(memory)) for layer in (self.k_proj, self.v_proj))
        if self.kv_heads != self.heads:
            k, v = (t.repeat_interleave(self.heads // self.kv_heads, 1) for t in (k, v))
        return k, v

    def attend(self, x, k, v, causal=False):
        q = self.split(self.q_proj(x))
        if x.dtype == torch.bfloat16 and x.device.type == "cpu":
            # On a CPU torch's own attention is slowest in bfloat16, and slower than this in float32 too.
            scores = (q * self.size**-0.5) @ k.transpose(-1, -2)
            if causal:
                scores = scores.masked_fill(scores.new_ones(scores.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
            out = torch.softmax(scores, -1) @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out_proj(out.transpose(1, 2).flatten(2))

    def forward(self, x, memory=None, causal=False):
        """x [batch, targets, width] attends to itself, or to memory [batch, sources, width]."""
        return self.attend(x, *self.keys_values(x if memory is None else memory), causal)


class Layer(nn.Module):
    """Self-attention, cross-attention in the decoder, and a feed-forward layer, each with a residual connection."""

    def __init__(self, width: int, heads: int, kv_heads: int, cross_kv_heads: int | None = None):
        super().__init__()
        self.self_attn = Attention(width, heads, kv_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        if cross_kv_heads is not None:
            self.encoder_attn = Attention(width, heads, cross_kv_heads)
            self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def feed_forward(self, x):
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))

    def forward(self, x, encoded=None):
        x = x + self.self_attn(self.self_attn_layer_norm(x), causal=encoded is not None)
        if encoded is not None:
            x = x + self.encoder_attn(self.encoder_attn_layer_norm(x), encoded)
        return self.feed_forward(x)

    def step(self, x, earlier, heard):
        """One decode step: x [batch, 1, width] is the next position. Its keys and values are appended to `earlier`."""
        normed = self.self_attn_layer_norm(x)
        earlier[:] = [torch.cat(pair, 2) for pair in zip(earlier, self.self_attn.keys_values(normed))]
        x = x + self.self_attn.attend(normed, *earlier)
        return self.feed_forward(x + self.encoder_attn.attend(self.encoder_attn_layer_norm(x), *heard))


def sinusoids(positions: int, width: int) -> torch.Tensor:
    step = math.log(10000) / (width // 2 - 1)
    angles = torch.arange(positions)[:, None] * torch.exp(-step * torch.arange(width // 2))[None]
    return torch.cat([angles.sin(), angles.cos()], 1)


class Encoder(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.conv1 = nn.Conv1d(shape.mels, shape.width, 3, padding=1)
        self.conv2 = nn.Conv1d(shape.width, shape.width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(shape.audio_positions, shape.width)
        self.embed_positions.weight.data = sinusoids(shape.audio_positions, shape.width)
        self.embed_positions.weight.requires_grad = False
        self.layers = nn.ModuleList(Layer(shape.width, shape.heads, shape.encoder_kv_heads) for _ in range(shape.encoder_layers))
        self.layer_norm = nn.LayerNorm(shape.width)

    def forward(self, mel, offsets):
        """mel [batch, 80, frames]; offsets [batch]: the position of each window's first frame."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.embed_positions.weight[offsets[:, None] + torch.arange(x.shape[1], device=x.device)]
        for layer in self.layers:
            x = layer(x)
        return self.layer_norm(x)


class Decoder(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.embed_positions = nn.Embedding(shape.text_positions, shape.width)
        self.layers = nn.ModuleList(Layer(shape.width, shape.heads, shape.decoder_kv_heads, shape.cross_kv_heads)
                                    for _ in range(shape.decoder_layers))
        self.layer_norm = nn.LayerNorm(shape.width)

    def forward(self, tokens, encoded):
        x = self.embed_tokens(tokens) + self.embed_positions.weight[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x, encoded)
        return self.logits(x)

    def logits(self, x):
        return F.linear(self.layer_norm(x), self.embed_tokens.weight)

    @torch.no_grad()
    def write(self, prompt, encoded, length: int, end: int) -> torch.Tensor:
        """Tokens [batch, length]: prompt [batch, n] and the sampled continuation; after the token `end` only `end`."""
        heard = [layer.encoder_attn.keys_values(encoded) for layer in self.layers]
        earlier = [[t[:, :, :0] for t in pair] for pair in heard]
        tokens = torch.full((len(prompt), length), end, device=prompt.device)
        tokens[:, : prompt.shape[1]] = prompt
        for position in range(length - 1):
            x = (self.embed_tokens(tokens[:, position]) + self.embed_positions.weight[position])[:, None]
            for layer, before, pair in zip(self.layers, earlier, heard):
                x = layer.step(x, before, pair)
            if position + 1 < prompt.shape[1]:
                continue
            written = self.logits(x)[:, 0].float().softmax(-1).multinomial(1)[:, 0]
            tokens[:, position + 1] = written.where(tokens[:, position] != end, end)
            if bool((tokens[:, position + 1] == end).all()):
                break
        return tokens


class Whisper(nn.Module):
    """`model.*` is Whisper. The CTC head predicts letters from the encoder, which trains the encoder; it is dropped at
    export."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.model = nn.Module()
        self.model.encoder, self.model.decoder = Encoder(shape), Decoder(shape)
        self.ctc = nn.Linear(shape.width, len(LETTERS) + 1)
        for name, parameter in self.named_parameters():
            if "conv" in name or "encoder.embed_positions" in name:
                continue
            if parameter.dim() >= 2:
                nn.init.normal_(parameter, std=0.02 if "embed" in name else min(0.06, 0.7 / math.sqrt(parameter.shape[1])))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)


def save(path, network: Whisper, **more) -> None:
    torch.save(dict(shape=asdict(network.shape), weights=network.state_dict(), **more), path)


def load(path) -> tuple[Whisper, dict]:
    """The network of a checkpoint, and everything else that was stored with it."""
    stored = torch.load(path, map_location="cpu", weights_only=True)
    network = Whisper(Shape(**stored.pop("shape")))
    network.load_state_dict(stored.pop("weights"))
    return network, stored
