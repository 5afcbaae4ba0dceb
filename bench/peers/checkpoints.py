"""Converts a Hugging Face folder of Whisper to the formats of other programs: OUT/openai.pt for openai/whisper,
OUT/ggml-f16.bin for whisper.cpp, and OUT/ct2 for faster-whisper. Existing files are kept.

    python checkpoints.py CHECKPOINT OUT
"""

import json
import pathlib
import struct
import subprocess
import sys

import numpy as np
import torch
from safetensors.torch import load_file

# Parts of tensor names in transformers and in openai/whisper, the longer ones first.
RENAMED = [
    ("encoder_attn_layer_norm", "cross_attn_ln"), ("self_attn_layer_norm", "attn_ln"), ("final_layer_norm", "mlp_ln"), ("encoder_attn", "cross_attn"),
    ("self_attn", "attn"), ("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out"), ("fc1", "mlp.0"), ("fc2", "mlp.2"),
    (".layers.", ".blocks."), ("embed_tokens", "token_embedding"), ("embed_positions.weight", "positional_embedding"),
    ("encoder.layer_norm", "encoder.ln_post"), ("decoder.layer_norm", "decoder.ln"),
]


def renamed(name):
    name = name.removeprefix("model.")
    for old, new in RENAMED:
        name = name.replace(old, new)
    return name


def sizes(config):
    return {
        "n_mels": config["num_mel_bins"], "n_vocab": config["vocab_size"],
        "n_audio_ctx": config.get("max_source_positions", 1500), "n_audio_state": config["d_model"],
        "n_audio_head": config["encoder_attention_heads"], "n_audio_layer": config["encoder_layers"],
        "n_text_ctx": config.get("max_target_positions", 448), "n_text_state": config["d_model"],
        "n_text_head": config["decoder_attention_heads"], "n_text_layer": config["decoder_layers"],
    }


def write_ggml(path, dims, tensors, vocabulary, mels):
    """Writes ggml's original file format, which whisper.cpp reads: sizes, mel filters, tokens, tensors."""
    with open(path, "wb") as file:
        file.write(struct.pack("<I", 0x67676D6C))
        order = ["n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer", "n_text_ctx", "n_text_state", "n_text_head", "n_text_layer", "n_mels"]
        file.write(struct.pack("<11i", *(dims[name] for name in order), 1))
        file.write(struct.pack("<2i", *mels.shape) + mels.astype("<f4").tobytes())
        file.write(struct.pack("<i", len(vocabulary)))
        for token in vocabulary:
            file.write(struct.pack("<i", len(token)) + token)
        for name, tensor in tensors.items():
            values = tensor.numpy()
            if name in ("encoder.conv1.bias", "encoder.conv2.bias"):
                values = values.reshape(-1, 1)
            whole = values.ndim < 2 or name.endswith("bias") or "positional" in name
            values = values.astype("<f4" if whole else "<f2")
            written = name.encode()
            file.write(struct.pack("<3i", values.ndim, len(written), 0 if whole else 1))
            file.write(struct.pack(f"<{values.ndim}i", *reversed(values.shape)))
            file.write(written + values.tobytes())


def token_bytes():
    """Maps the characters of a byte-level tokenizer to bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + i): byte for i, byte in enumerate(hidden)}


def main():
    source, out = map(pathlib.Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "ct2" / "model.bin").exists():
        converter = pathlib.Path(sys.executable).parent / "ct2-transformers-converter"
        subprocess.run(
            [converter, "--model", source, "--output_dir", out / "ct2", "--quantization", "float16", "--copy_files", "tokenizer.json", "preprocessor_config.json", "--force"],
            check=True)
    if (out / "openai.pt").exists() and (out / "ggml-f16.bin").exists():
        return
    config = json.loads((source / "config.json").read_text())
    dims = sizes(config)
    tensors = {}
    for path in sorted(source.glob("*.safetensors")):
        for name, tensor in load_file(path).items():
            if name != "proj_out.weight":
                tensors[renamed(name)] = tensor.to(torch.float16)
    torch.save({"dims": dims, "model_state_dict": tensors}, out / "openai.pt")

    import whisper.audio

    tokenizer = json.loads((source / "tokenizer.json").read_text())
    end = next(token["id"] for token in tokenizer["added_tokens"] if token["content"] == "<|endoftext|>")
    ordered = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    to_byte = token_bytes()
    vocabulary = [bytes(to_byte[c] for c in token) for token, number in ordered if number < end]
    write_ggml(out / "ggml-f16.bin", dims, tensors, vocabulary, np.asarray(whisper.audio.mel_filters("cpu", dims["n_mels"])))


if __name__ == "__main__":
    main()
