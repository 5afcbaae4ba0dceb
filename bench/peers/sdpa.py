"""Measures torch's scaled_dot_product_attention at the shape of an encoder; prints the microseconds of a call.

    python sdpa.py --batch 1 --heads 20 --positions 1500 --device cuda --dtype float16
"""

import argparse
import statistics
import time

import torch


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--heads", type=int, default=20)
    parser.add_argument("--positions", type=int, default=1500)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("--calls", type=int, default=20)
    arguments = parser.parse_args()
    shape = (arguments.batch, arguments.heads, arguments.positions, 64)
    query, key, value = (torch.randn(shape, device=arguments.device, dtype=getattr(torch, arguments.dtype)) for _ in range(3))

    def calls():
        for _ in range(arguments.calls):
            torch.nn.functional.scaled_dot_product_attention(query, key, value)
        if arguments.device == "cuda":
            torch.cuda.synchronize()

    calls()
    times = []
    for _ in range(7):
        start = time.perf_counter()
        calls()
        times.append(1e6 * (time.perf_counter() - start) / arguments.calls)
    print(statistics.median(times))


if __name__ == "__main__":
    main()
