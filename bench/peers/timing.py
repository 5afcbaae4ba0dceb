"""Times and memory of a process of `npm run bench -- cpu`."""

import json
import statistics
import time


def add_options(parser):
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true", help="computing time in place of time by the clock")


def milliseconds(work, repeats, arguments):
    """Median of `repeats` runs after one to warm up."""
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
