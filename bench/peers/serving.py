"""Measures concurrent callers of faster-whisper, for `npm run bench -- serving --peer`. Each caller sends the next clip
when it has the text of the previous one. All use one model, which does not batch their windows. Prints a line of JSON
for each number of callers.

    python serving.py JOB
    JOB: {model, compute, threads, seconds, callers: [1, 8, ...], clips: [files of float32 samples at 16 kHz]}
"""

import json
import sys
import threading
import time

import numpy as np
from faster_whisper import WhisperModel


def measure(model, clips, callers, seconds):
    times, sample_count = [], 0
    lock = threading.Lock()
    begin = time.perf_counter()
    following = iter(range(10**9))

    def caller():
        nonlocal sample_count
        while time.perf_counter() - begin < seconds:
            with lock:
                clip = clips[next(following) % len(clips)]
            start = time.perf_counter()
            segments, _ = model.transcribe(clip, language="en", beam_size=1, condition_on_previous_text=False)
            for _ in segments:
                pass
            with lock:
                times.append(1000 * (time.perf_counter() - start))
                sample_count += len(clip)

    threads = [threading.Thread(target=caller) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - begin
    times.sort()
    at = lambda share: times[min(len(times) - 1, int(share * len(times)))]
    return {
        "callers": callers,
        "requests": len(times),
        "requestsPerSecond": len(times) / elapsed,
        "audioSecondsPerSecond": sample_count / 16000 / elapsed,
        "p50": at(0.5),
        "p95": at(0.95),
        "p99": at(0.99),
    }


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    clips = [np.fromfile(path, np.float32) for path in job["clips"]]
    model = WhisperModel(job["model"], device="cpu", compute_type=job["compute"], cpu_threads=job["threads"])
    measure(model, clips[:2], 1, 0.1)  # warm-up
    for callers in job["callers"]:
        print(json.dumps(measure(model, clips, callers, job["seconds"])), flush=True)


if __name__ == "__main__":
    main()
