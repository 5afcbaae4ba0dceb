"""Measures Silero's models with ONNX Runtime, on one thread.

    python silero.py SAMPLES REPEATS        SAMPLES: a file of float32 samples at 16 kHz

Prints JSON: microseconds of CPU time per frame, and the probabilities.
"""

import json
import pathlib
import sys
import time

import numpy
import onnxruntime
import silero_vad
from silero_vad.sequence_vad import SileroVADSequence

DATA = pathlib.Path(silero_vad.__file__).parent / "data"
FRAME, CONTEXT = 512, 64
samples = numpy.fromfile(sys.argv[1], "<f4")
frames = len(samples) // FRAME

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(str(DATA / "silero_vad.onnx"), options, providers=["CPUExecutionProvider"])
sequence = SileroVADSequence(str(DATA / "silero_vad_16k_sequence.onnx"))
rate = numpy.array(16000, "int64")


def frame_by_frame():
    state, context = numpy.zeros((2, 1, 128), numpy.float32), numpy.zeros((1, CONTEXT), numpy.float32)
    found = numpy.empty(frames, numpy.float32)
    for i in range(frames):
        given = numpy.concatenate([context, samples[None, i * FRAME : (i + 1) * FRAME]], axis=1)
        context = given[:, -CONTEXT:]
        output, state = session.run(None, {"input": given, "state": state, "sr": rate})
        found[i] = output[0, 0]
    return found


def timed(run):
    started = time.process_time()
    found = run()
    return (time.process_time() - started) / frames * 1e6, found


times = {}
for repeat in range(int(sys.argv[2])):
    for name, run in {"a frame at a time": frame_by_frame, "whole": lambda: sequence.audio_forward(samples)}.items():
        elapsed, found = timed(run)
        times[name] = min(elapsed, times.get(name, elapsed))
        if name == "a frame at a time":
            probabilities = found
print(json.dumps({"times": times, "probabilities": [round(float(p), 7) for p in probabilities]}))
