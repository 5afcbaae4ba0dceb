"""Averages key/value heads of a checkpoint or model folder, which is then trained further with fewer heads.

    python convert_heads.py CHECKPOINT OUTPUT [--encoder 4] [--decoder 1] [--cross 1]
"""

import argparse
from dataclasses import replace
from pathlib import Path

from export import read_network
from heads import pooled
from network import Whisper, save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    for part, default in (("encoder", 4), ("decoder", 1), ("cross", 1)):
        parser.add_argument(f"--{part}", type=int, default=default, help="key/value heads")
    arguments = parser.parse_args()
    network = read_network(arguments.checkpoint)
    shape = replace(network.shape, encoder_kv_heads=arguments.encoder, decoder_kv_heads=arguments.decoder,
                    cross_kv_heads=arguments.cross)
    converted = Whisper(shape)
    converted.load_state_dict(pooled(network.state_dict(), network.shape, shape))
    save(arguments.output, converted)
    print(f"{sum(p.numel() for p in converted.model.parameters()):,} parameters")


if __name__ == "__main__":
    main()
