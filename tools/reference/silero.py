"""Silero's weights for the package, and what its own model computes, for the tests.

    python3 -m venv venv && venv/bin/pip install silero-vad==6.2.3 onnxruntime numpy safetensors soundfile
    venv/bin/python tools/reference/silero.py

Writes models/silero-vad/model.safetensors and test/fixtures/voice/.
"""

import json
import pathlib

import numpy
import onnxruntime
import silero_vad
import soundfile
import torch
from safetensors.numpy import save_file

ROOT = pathlib.Path(__file__).parents[2]
DATA = pathlib.Path(silero_vad.__file__).parent / "data"
RATE, FRAME, CONTEXT = 16000, 512, 64
NAMES = {
    **{f"_model.encoder.{i}.reparam_conv": f"encoder.{i}" for i in range(4)},
    "_model.decoder.rnn": "lstm",
    "_model.decoder.decoder.2": "output",
}


def weights() -> dict[str, numpy.ndarray]:
    state = torch.jit.load(str(DATA / "silero_vad.jit")).state_dict()
    found = {}
    for name, tensor in state.items():
        for begin, ours in NAMES.items():
            if name.startswith(f"{begin}."):
                found[ours + name[len(begin) :]] = tensor.numpy().astype(numpy.float32)
    return found


def probabilities(samples: numpy.ndarray) -> list[float]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(DATA / "silero_vad.onnx"), options, providers=["CPUExecutionProvider"])
    state = numpy.zeros((2, 1, 128), numpy.float32)
    context = numpy.zeros((1, CONTEXT), numpy.float32)
    found = []
    for begin in range(0, len(samples) - FRAME + 1, FRAME):
        given = numpy.concatenate([context, samples[None, begin : begin + FRAME]], axis=1)
        context = given[:, -CONTEXT:]
        output, state = session.run(None, {"input": given, "state": state, "sr": numpy.array(RATE, "int64")})
        found.append(float(output[0, 0]))
    return found


def noise(count: int) -> numpy.ndarray:
    """White noise from integers, so that it is the same in every language."""
    state, samples = 1, numpy.empty(count, numpy.float32)
    for i in range(count):
        state = (1664525 * state + 1013904223) % 2**32
        samples[i] = (state >> 8) / 2**24 - 0.5
    return samples


def main() -> None:
    save_file(weights(), ROOT / "models/silero-vad/model.safetensors", {"source": "silero-vad 6.2.3, MIT"})
    speech, rate = soundfile.read(ROOT / "test/fixtures/heldout/12_long_seen.flac", dtype="float32")
    assert rate == RATE
    speech = speech[: 30 * RATE]
    hiss = noise(len(speech))
    cases = {
        "speech": speech,
        "quiet": speech * numpy.float32(2**-6),
        "noisy": speech + hiss * numpy.float32(2**-4),
        "noise": hiss[: 4 * RATE],
        "silence": numpy.zeros(4 * RATE, numpy.float32),
    }
    found = {name: [round(p, 6) for p in probabilities(samples)] for name, samples in cases.items()}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(values)}" for name, values in found.items())
    (ROOT / "test/fixtures/voice/probabilities.json").write_text(f"{{\n{lines}\n}}\n")
    for name, values in found.items():
        print(name, len(values), "frames,", f"{numpy.mean(numpy.array(values) >= 0.5):.0%} speech")


if __name__ == "__main__":
    main()
