"""Writes a checkpoint as a float16 model in Hugging Face format, and reads such models.

    python export.py CHECKPOINT FOLDER [--tokenizer FOLDER]

If there are fewer key/value heads than query heads, config.json has their number (`decoder_key_value_heads` ...).
transformers does not support this field; `--repeat` writes the same model with all heads for it.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from heads import repeated
from network import Shape, Whisper, load

TOKENIZER_FILES = ["generation_config.json", "merges.txt", "preprocessor_config.json", "processor_config.json", "tokenizer.json",
                   "tokenizer_config.json", "vocab.json"]


def config(shape: Shape, special: dict, repeat: bool) -> dict:
    end = special["eos_token_id"]
    fields = dict(
        d_model=shape.width, encoder_attention_heads=shape.heads, decoder_attention_heads=shape.heads,
        encoder_ffn_dim=4 * shape.width, decoder_ffn_dim=4 * shape.width, encoder_layers=shape.encoder_layers,
        decoder_layers=shape.decoder_layers, num_mel_bins=shape.mels, max_source_positions=shape.audio_positions,
        max_target_positions=shape.text_positions, vocab_size=shape.vocabulary, dropout=0.0,
        architectures=["WhisperForConditionalGeneration"], model_type="whisper", activation_function="gelu", activation_dropout=0.0,
        attention_dropout=0.0, encoder_layerdrop=0.0, decoder_layerdrop=0.0, bos_token_id=end, eos_token_id=end, pad_token_id=end,
        decoder_start_token_id=special["decoder_start_token_id"], num_hidden_layers=shape.encoder_layers, is_encoder_decoder=True,
        scale_embedding=False, init_std=0.02, use_cache=True, tie_word_embeddings=True, dtype="float16",
        begin_suppress_tokens=None, suppress_tokens=None, forced_decoder_ids=None, median_filter_width=7,
        max_length=shape.text_positions)
    shared = dict(encoder_key_value_heads=shape.encoder_kv_heads, decoder_key_value_heads=shape.decoder_kv_heads,
                  cross_key_value_heads=shape.cross_kv_heads)
    return fields | {name: heads for name, heads in shared.items() if heads != shape.heads and not repeat}


def shape_of(fields: dict) -> Shape:
    heads = fields["decoder_attention_heads"]
    return Shape(width=fields["d_model"], heads=heads, encoder_layers=fields["encoder_layers"],
                 decoder_layers=fields["decoder_layers"], vocabulary=fields["vocab_size"],
                 encoder_kv_heads=fields.get("encoder_key_value_heads", heads),
                 decoder_kv_heads=fields.get("decoder_key_value_heads", heads), cross_kv_heads=fields.get("cross_key_value_heads", heads))


def read_network(path: Path) -> Whisper:
    """Loads a checkpoint, or a folder in Hugging Face format. A folder has no CTC head, so a new one is initialized."""
    if not path.is_dir():
        return load(path)[0]
    network = Whisper(shape_of(json.loads((path / "config.json").read_text())))
    weights = {name: tensor.float() for name, tensor in load_file(path / "model.safetensors").items()}
    network.load_state_dict(weights | {f"ctc.{name}": tensor for name, tensor in network.ctc.state_dict().items()})
    return network


def export(network: Whisper, folder: Path, tokenizer: Path, repeat: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if folder.resolve() != tokenizer.resolve():
            shutil.copy(tokenizer / name, folder / name)
    weights = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("ctc")}
    if repeat:
        weights = repeated(weights, network.shape)
    save_file({name: tensor.to(torch.float16).contiguous() for name, tensor in weights.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    special = json.loads((tokenizer / "generation_config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config(network.shape, special, repeat), indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokenizer", type=Path, help="folder to copy the tokenizer from, if FOLDER has none yet")
    parser.add_argument("--repeat", action="store_true", help="repeat shared key/value heads")
    arguments = parser.parse_args()
    network = read_network(arguments.checkpoint)
    export(network, arguments.folder, arguments.tokenizer or arguments.folder, arguments.repeat)
    print(f"{(arguments.folder / 'model.safetensors').stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
