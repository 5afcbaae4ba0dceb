"""Measures ONNX Runtime with the models of export_onnx.py; prints a JSON object.

    python onnxruntime_cpu.py FOLDER --dtype float32|int8 --threads 2
"""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
from timing import add_options, milliseconds, report


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", choices=["float32", "int8"], required=True)
    add_options(parser)
    arguments = parser.parse_args()
    ending = ".int8.onnx" if arguments.dtype == "int8" else ".onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = arguments.threads, 1

    def session(name):
        return onnxruntime.InferenceSession(arguments.folder / (name + ending), options, providers=["CPUExecutionProvider"])

    encoder, step = session("encoder"), session("step")
    _, mels, frames = encoder.get_inputs()[0].shape
    features = np.sin(np.arange(mels * frames, dtype=np.float32)).reshape(1, mels, frames)
    encode = milliseconds(lambda: encoder.run(None, {"features": features}), arguments.repeats, arguments)
    value = onnxruntime.OrtValue.ortvalue_from_numpy
    cross = {i.name: value(np.zeros(i.shape, np.float32)) for i in step.get_inputs() if i.name.startswith("cross")}
    own = [i for i in step.get_inputs() if len(i.shape) == 4 and not i.name.startswith("cross")]
    empty = {i.name: value(np.zeros((1, i.shape[1], 0, i.shape[3]), np.float32)) for i in own}
    outputs = ["logits", *(f"present_{name}" for name in empty)]

    def decode(tokens):
        """Greedy decoding of `tokens` tokens; the audio's keys and values are given."""
        token, caches = 50258, empty
        for position in range(tokens):
            given = {"token": value(np.array([[token]])), "position": value(np.array([position]))}
            logits, *present = step.run_with_ort_values(outputs, given | caches | cross)
            token = int(logits.numpy().argmax())
            caches = dict(zip(empty, present))

    per_token = {count: milliseconds(lambda: decode(count), max(1, arguments.repeats // 2), arguments) / count for count in (25, 256)}
    report(encoderMilliseconds=encode, decodeMillisecondsPerToken=per_token)


if __name__ == "__main__":
    main()
