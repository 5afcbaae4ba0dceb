"""Averages the weights of checkpoints with the same shape, such as stages of one training.

    python average.py OUTPUT CHECKPOINT CHECKPOINT ... [--shares 1 2 ...]

The average often combines the improvements of a later stage with what an earlier one had not lost yet ("Model soups",
Wortsman et al., 2022).
"""

import argparse
from pathlib import Path

from export import read_network
from network import save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+", help="checkpoints or model folders")
    parser.add_argument("--shares", type=float, nargs="+", help="the weight of each checkpoint; equal if left out")
    arguments = parser.parse_args()
    shares = arguments.shares or [1.0] * len(arguments.checkpoints)
    if len(shares) != len(arguments.checkpoints) or sum(shares) <= 0:
        parser.error("--shares needs one number for each checkpoint, and a positive sum")
    networks = [read_network(path) for path in arguments.checkpoints]
    if any(network.shape != networks[0].shape for network in networks):
        parser.error("the checkpoints differ in shape")
    weights = [network.state_dict() for network in networks]
    mean = {name: sum(share * one[name] for share, one in zip(shares, weights)) / sum(shares) for name in weights[0]}
    networks[0].load_state_dict(mean)
    save(arguments.output, networks[0])


if __name__ == "__main__":
    main()
