"""Makes a small random Whisper in all forms of checkpoints, with the programs that write these forms.

    python make_formats.py WHISPER_CPP WHISPER [OUTPUT]      (default: test/fixtures/checkpoints)

WHISPER_CPP is the folder of whisper.cpp with build/bin/whisper-quantize. WHISPER is that of openai/whisper, for its mel
filters. Two more files are written for the tests:

- `numbers.json`: the SHA-256 of each quantized tensor's float32 numbers, which gguf and numpy compute
- `blocks.json`: random blocks of each of ggml's types, and the numbers that gguf computes from them

Seeds are fixed: the same versions give the same files.
"""

import argparse
import base64
import hashlib
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path

import ctranslate2
import gguf
import numpy as np
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent))
from make_checkpoints import byte_characters, make, special_tokens

GGML_TYPES = ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0"]
BLOCK_TYPES = [*GGML_TYPES, "q2_k", "q3_k", "q4_k", "q5_k", "q6_k"]
CT2_TYPES = ["float16", "bfloat16", "int8", "int8_float16", "int16"]

RENAMED = [("encoder_attn_layer_norm", "cross_attn_ln"), ("self_attn_layer_norm", "attn_ln"), ("final_layer_norm", "mlp_ln"),
           ("encoder_attn", "cross_attn"), ("self_attn", "attn"), ("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"),
           ("out_proj", "out"), ("fc1", "mlp.0"), ("fc2", "mlp.2"), (".layers.", ".blocks."), ("embed_tokens", "token_embedding"),
           ("encoder.layer_norm", "encoder.ln_post"), ("decoder.layer_norm", "decoder.ln"), ("embed_positions.weight", "positional_embedding")]


def openai_name(name: str) -> str:
    name = name.removeprefix("model.")
    for ours, theirs in RENAMED:
        name = name.replace(ours, theirs)
    return name


def digest(numbers: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(numbers, dtype="<f4").tobytes()).hexdigest()


def ggml_numbers(file: Path) -> dict[str, str]:
    """Digests of a ggml file's quantized tensors."""
    data = file.read_bytes()
    at = 48
    rows, columns = struct.unpack_from("<2i", data, at)
    at += 8 + 4 * rows * columns
    count, = struct.unpack_from("<i", data, at)
    at += 4
    for _ in range(count):
        at += 4 + struct.unpack_from("<i", data, at)[0]
    found = {}
    while at < len(data):
        dimensions, name_bytes, kind = struct.unpack_from("<3i", data, at)
        shape = struct.unpack_from(f"<{dimensions}i", data, at + 12)
        at += 12 + 4 * dimensions
        name = data[at: at + name_bytes].decode()
        at += name_bytes
        elements, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
        size = int(np.prod(shape)) // elements * block_bytes
        if kind > 1:
            raw = np.frombuffer(data, np.uint8, size, at).reshape(-1, shape[0] // elements * block_bytes)
            found[name] = digest(gguf.quants.dequantize(raw, gguf.GGMLQuantizationType(kind)))
        at += size
    return found


def ct2_numbers(file: Path) -> dict[str, str]:
    """Digests of a CTranslate2 model's integers, divided by their scales."""
    stream = file.open("rb")

    def take(form):
        return struct.unpack(form, stream.read(struct.calcsize(form)))

    def text():
        return stream.read(take("<H")[0])[:-1].decode()

    take("<I"), text(), take("<I")
    kinds = ["<f4", "i1", "<i2", "<i4", "<f2", None]
    variables = {}
    for _ in range(take("<I")[0]):
        name, shape = text(), take(f"<{take('<B')[0]}I")
        kind, size = take("<BI")
        raw = stream.read(size)
        if kinds[kind]:
            variables[name] = np.frombuffer(raw, kinds[kind]).reshape(shape)
    found = {}
    for name, whole in variables.items():
        scale = variables.get(f"{name}_scale")
        if scale is not None:
            found[name] = digest(whole.astype(np.float32) / scale.reshape(-1, *[1] * (whole.ndim - 1)))
    return found


def blocks() -> dict[str, dict[str, str]]:
    random = np.random.default_rng(1)
    found = {}
    for name in BLOCK_TYPES:
        kind = gguf.GGMLQuantizationType[name.upper()]
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        raw = random.integers(0, 256, (512 // elements, size), dtype=np.uint8)
        # The scales of a block are float16, and random bytes could make them infinite.
        for place in {"q4_1": (0, 2), "q5_1": (0, 2), "q2_k": (80, 82), "q3_k": (108,), "q4_k": (0, 2), "q5_k": (0, 2), "q6_k": (208,)}.get(name, (0,)):
            raw[:, place: place + 2] = random.normal(0, 0.1, len(raw)).astype("<f2").view(np.uint8).reshape(-1, 2)
        numbers = gguf.quants.dequantize(raw, kind)
        found[name] = dict(blocks=base64.b64encode(raw.tobytes()).decode(), numbers=base64.b64encode(numbers.astype("<f4").tobytes()).decode())
    return found


def main():
    default = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "checkpoints"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("whisper_cpp", type=Path)
    parser.add_argument("whisper", type=Path)
    parser.add_argument("output", nargs="?", type=Path, default=default)
    arguments = parser.parse_args()
    output = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    make("source", output, width=32, layers=(1, 1), heads=(2, 2), inner=(64, 64), dtype=torch.float16, seed=11)
    source = output / "source"
    for name in ("expected.json", "expected.safetensors"):
        (source / name).unlink()
    state = load_file(source / "model.safetensors")
    config = json.loads((source / "config.json").read_text())

    dims = dict(n_mels=config["num_mel_bins"], n_vocab=config["vocab_size"], n_audio_ctx=config["max_source_positions"],
                n_audio_state=config["d_model"], n_audio_head=config["encoder_attention_heads"], n_audio_layer=config["encoder_layers"],
                n_text_ctx=config["max_target_positions"], n_text_state=config["d_model"], n_text_head=config["decoder_attention_heads"],
                n_text_layer=config["decoder_layers"])
    openai = {openai_name(name): tensor for name, tensor in state.items()}
    (output / "openai").mkdir(exist_ok=True)
    torch.save(dict(dims=dims, model_state_dict=openai), output / "openai" / "model.pt")
    shutil.copy(source / "tokenizer.json", output / "openai")

    (output / "pytorch").mkdir(exist_ok=True)
    halves = [sorted(state)[::2], sorted(state)[1::2]]
    weight_map = {}
    for index, names in enumerate(halves):
        shard = f"pytorch_model-{index + 1:05}-of-00002.bin"
        tensors = {name: torch.nn.Parameter(state[name], requires_grad=False) for name in names}
        torch.save(OrderedDict(tensors), output / "pytorch" / shard)
        weight_map |= {name: shard for name in names}
    (output / "pytorch" / "pytorch_model.bin.index.json").write_text(json.dumps(dict(metadata={}, weight_map=weight_map)))
    for name in ("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json"):
        shutil.copy(source / name, output / "pytorch")

    numbers = {}
    with tempfile.TemporaryDirectory() as folder:
        # Both converters need the slow tokenizer's files or a tokenizer class.
        copy = shutil.copytree(source, Path(folder) / "source")
        special = special_tokens(True, 2)
        (copy / "vocab.json").write_text(json.dumps({character: byte for byte, character in enumerate(byte_characters())}))
        (copy / "added_tokens.json").write_text(json.dumps(special))
        (copy / "tokenizer_config.json").write_text(json.dumps(dict(tokenizer_class="PreTrainedTokenizerFast")))
        for kind in CT2_TYPES:
            into = output / f"ctranslate2-{kind}"
            converter = ctranslate2.converters.TransformersConverter(str(copy), copy_files=["tokenizer.json"])
            converter.convert(str(into), quantization=kind, force=True)
            if kind in ("int8", "int16"):  # these have only a vocabulary
                (into / "tokenizer.json").unlink()
            if digests := ct2_numbers(into / "model.bin"):
                numbers[into.name] = digests
        (output / "ggml").mkdir(exist_ok=True)
        converted = Path(folder)
        for more in ([], ["use-f32"]):
            script = arguments.whisper_cpp / "models" / "convert-h5-to-ggml.py"
            subprocess.run([sys.executable, script, copy, arguments.whisper, converted, *more], check=True, stdout=subprocess.DEVNULL)
        shutil.copy(converted / "ggml-model-f32.bin", output / "ggml" / "f32.bin")
        shutil.copy(converted / "ggml-model.bin", output / "ggml" / "f16.bin")
        for kind in GGML_TYPES:
            into = output / "ggml" / f"{kind}.bin"
            quantize = arguments.whisper_cpp / "build" / "bin" / "whisper-quantize"
            subprocess.run([quantize, converted / "ggml-model.bin", into, kind], check=True, stdout=subprocess.DEVNULL)
            numbers[f"ggml/{kind}.bin"] = ggml_numbers(into)
    (output / "numbers.json").write_text(json.dumps(numbers, indent=1) + "\n")
    (output / "blocks.json").write_text(json.dumps(blocks(), indent=1) + "\n")


if __name__ == "__main__":
    main()
