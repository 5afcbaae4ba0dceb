"""Measures times and memory in a process of `npm run bench -- cpu`."""

import json
import statistics
import time


def add_options(parser):
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true", help="CPU time instead of wall time")


def milliseconds(work, repeats, arguments):
    """The median of `repeats` runs, after a warm-up run."""
    now = time.process_time if arguments.cpu_time else time.perf_counter
    work()
    times = []
    for _ in range(repeats):
        start = now()
        work()
        times.append(1000 * (now() - start))
    return statistics.median(times)


def peak_mebibytes():
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024


def report(**figures):
    print(json.dumps(figures | {"peakMemoryMiB": peak_mebibytes()}))
