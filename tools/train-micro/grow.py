"""Adds layers to a checkpoint, or changes its tokenizer, and keeps what it has learned. It is then trained further.

    python grow.py CHECKPOINT OUTPUT [--encoder-layers 6] [--decoder-layers 3] [--tokenizers BEFORE AFTER]

A new layer is a copy of the layer before it whose output projections are zero, so it adds nothing at first. A new
token's embedding is the mean of the embeddings of the tokens that spelled it before.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from dataset import Tokens
from export import read_network
from network import Layer, Whisper, save


def deepen(layers: torch.nn.ModuleList, fresh: torch.nn.ModuleList) -> None:
    """Fills `fresh` from `layers`, which may be fewer: copies are evenly distributed after their originals."""
    previous = None
    for index, layer in enumerate(fresh):
        source = index * len(layers) // len(fresh)
        layer.load_state_dict(layers[source].state_dict())
        if source == previous:
            silence(layer)
        previous = source


def silence(layer: Layer) -> None:
    for name, projection in layer.named_modules():
        if name == "fc2" or name.endswith("out_proj"):
            torch.nn.init.zeros_(projection.weight)
            torch.nn.init.zeros_(projection.bias)


def embeddings(table: torch.Tensor, before: Tokens, after: Tokens) -> torch.Tensor:
    """[vocabulary after, width] from [vocabulary before, width]."""
    known, pieces = before.tokenizer.get_vocab(), before.tokenizer.backend_tokenizer.model
    rows = []
    for index in range(after.count):
        token = after.tokenizer.convert_ids_to_tokens(index)
        rows.append(table[known[token]] if token in known else table[[piece.id for piece in pieces.tokenize(token)]].mean(0))
    return torch.stack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="or model folder")
    parser.add_argument("output", type=Path)
    parser.add_argument("--encoder-layers", type=int)
    parser.add_argument("--decoder-layers", type=int)
    parser.add_argument("--tokenizers", type=Path, nargs=2, metavar=("BEFORE", "AFTER"))
    arguments = parser.parse_args()
    network = read_network(arguments.checkpoint)
    weights, shape = network.state_dict(), network.shape
    if arguments.tokenizers:
        before, after = map(Tokens, arguments.tokenizers)
        name = "model.decoder.embed_tokens.weight"
        weights[name] = embeddings(weights[name], before, after)
        shape = replace(shape, vocabulary=after.count)
    shape = replace(shape, encoder_layers=arguments.encoder_layers or shape.encoder_layers,
                    decoder_layers=arguments.decoder_layers or shape.decoder_layers)
    if shape.encoder_layers < network.shape.encoder_layers or shape.decoder_layers < network.shape.decoder_layers:
        raise SystemExit("The result must have at least as many layers as the checkpoint.")
    grown = Whisper(shape)
    grown.load_state_dict({name: tensor for name, tensor in weights.items() if ".layers." not in name}, strict=False)
    for part in ("encoder", "decoder"):
        old, new = getattr(network.model, part).layers, getattr(grown.model, part).layers
        deepen(old, new)
    save(arguments.output, grown)


if __name__ == "__main__":
    main()
