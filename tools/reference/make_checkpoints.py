"""Makes small random Whisper checkpoints of varied shapes and stores what transformers computes with them.

    python make_checkpoints.py [OUTPUT]      (default: test/fixtures/reference)

Each case is a folder in Hugging Face format with two more files:

- `expected.json`: token ids and probabilities
- `expected.safetensors`: samples as 16-bit integers; in float32 every 8th frame of the features, every 4th position of
  the encoder output and every 2nd column of teacher-forced logits

Seeds are fixed: the same versions give the same files.
"""

import argparse
import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers.generation.logits_process import (LogitsProcessorList, MinNewTokensLengthLogitsProcessor,
                                                      SuppressTokensAtBeginLogitsProcessor, SuppressTokensLogitsProcessor,
                                                      WhisperTimeStampLogitsProcessor)
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

TEXT_TOKENS = 256  # one for each byte
LANGUAGES = ["en", "zh", "de"]


def special_tokens(multilingual: bool, window_seconds: int) -> dict[str, int]:
    """Whisper's special tokens in Whisper's order, after the text tokens."""
    names = ["<|endoftext|>", "<|startoftranscript|>"]
    names += [f"<|{language}|>" for language in LANGUAGES] if multilingual else []
    names += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    names += [f"<|{step * 0.02:.2f}|>" for step in range(50 * window_seconds + 1)]
    return {name: TEXT_TOKENS + index for index, name in enumerate(names)}


def byte_characters() -> list[str]:
    """GPT-2's printable characters for the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}
    return [characters[byte] for byte in range(256)]


def tokenizer_json(special: dict[str, int]) -> dict:
    """A byte-level BPE without merges: every byte is a token."""
    added = [
        dict(id=token, content=text, single_word=False, lstrip=False, rstrip=False, normalized=False,
             special=not text.startswith("<|0") and not text[2].isdigit())
        for text, token in special.items()
    ]
    return dict(
        version="1.0", truncation=None, padding=None, added_tokens=added, normalizer=None,
        pre_tokenizer=dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True),
        post_processor=None, decoder=dict(type="ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True),
        model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix="", end_of_word_suffix="",
                   fuse_unk=False, byte_fallback=False, ignore_merges=False,
                   vocab={character: byte for byte, character in enumerate(byte_characters())}, merges=[]),
    )


def sound(count: int, seed: int) -> torch.Tensor:
    """Tones with changing pitch and loudness, and a little noise, so that no part of the features is constant."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(count) / 16000
    glide = torch.sin(2 * math.pi * (200 + 90 * seed) * time * (1 + 0.3 * time)) * (torch.sin(2 * math.pi * 3 * time) > 0)
    # Rounded to 16 bits, so that they are small when stored and exact when read.
    return ((0.3 * glide + 0.02 * torch.randn(count, generator=generator)).clamp(-1, 1) * 32767).round() / 32768


def share_heads(state: dict[str, torch.Tensor], config: WhisperConfig, groups: int) -> dict[str, torch.Tensor]:
    """Keeps the first key/value head of each group, as onehead's *_key_value_heads fields in config.json define."""
    shared = {}
    for name, tensor in state.items():
        if ".k_proj." in name or ".v_proj." in name:
            heads = config.encoder_attention_heads if ".encoder.layers" in name else config.decoder_attention_heads
            tensor = tensor.view(groups, heads // groups, -1, *tensor.shape[1:])[:, 0].flatten(0, 1).contiguous()
        shared[name] = tensor
    return shared


def repeat_heads(shared: dict[str, torch.Tensor], config: WhisperConfig, groups: int) -> dict[str, torch.Tensor]:
    """The same network with a copy of the shared key/value head for each query head, for stock transformers."""
    repeated = {}
    for name, tensor in shared.items():
        if ".k_proj." in name or ".v_proj." in name:
            heads = config.encoder_attention_heads if ".encoder.layers" in name else config.decoder_attention_heads
            tensor = tensor.view(groups, -1, *tensor.shape[1:]).repeat_interleave(heads // groups, 0).flatten(0, 1)
        repeated[name] = tensor
    return repeated


@torch.no_grad()
def reference(model, extractor, special, multilingual, window):
    """The results with which onehead is compared."""
    samples = torch.stack([sound(2 * 16000, 1), sound(2 * 16000, 2)])
    samples[1, 16000:] = 0  # the second one is shorter than its window
    features = extractor([row.numpy() for row in samples], sampling_rate=16000, return_tensors="pt").input_features
    encoded = model.model.encoder(features).last_hidden_state
    start = special["<|startoftranscript|>"]
    prompt = [start, special["<|en|>"], special["<|transcribe|>"]] if multilingual else [start]
    forced = torch.tensor([prompt + list(range(40, 60))] * 2)
    logits = model(features, decoder_input_ids=forced).logits
    first = model(features, decoder_input_ids=torch.tensor([[start]] * 2)).logits[:, 0]
    silence = first.softmax(-1)[:, special["<|nospeech|>"]]

    end, settings = special["<|endoftext|>"], model.generation_config

    def greedy(task="transcribe", timestamps=False, minimum=0, maximum=40):
        """Greedy token ids of each row, without the prompt and the end token, with transformers' logits processors.

        Not with its generate(), which seeks within the window when a random model generates timestamps.
        """
        begin = [start, special["<|en|>"], special[f"<|{task}|>"]] if multilingual else [start]
        begin += [] if timestamps else [special["<|notimestamps|>"]]
        processors = LogitsProcessorList([MinNewTokensLengthLogitsProcessor(len(begin), minimum, end)])
        if settings.suppress_tokens:
            processors.append(SuppressTokensLogitsProcessor(settings.suppress_tokens))
        if settings.begin_suppress_tokens:
            processors.append(SuppressTokensAtBeginLogitsProcessor(settings.begin_suppress_tokens, begin_index=len(begin)))
        if timestamps:
            processors.append(WhisperTimeStampLogitsProcessor(settings, begin_index=len(begin)))
        rows, margins, sums = [], [], []
        for index in range(2):
            path, margin, total = list(begin), 99.0, 0.0
            while len(path) - len(begin) < maximum:
                scores = model(decoder_input_ids=torch.tensor([path]), encoder_outputs=(encoded[index: index + 1],)).logits[:, -1]
                scores = processors(torch.tensor([path]), scores).log_softmax(-1)[0]
                best = scores.topk(2)
                margin = min(margin, float(best.values[0] - best.values[1]))
                total += float(best.values[0])
                path.append(int(best.indices[0]))
                if path[-1] == end:
                    break
            rows.append([token for token in path[len(begin):] if token != end])
            margins.append(round(min(margin, 99.0), 5))
            sums.append(round(total, 5))
        return dict(tokens=rows, margins=margins, log_probabilities=sums)

    results = dict(plain=greedy(), timestamps=greedy(timestamps=True), forced=greedy(minimum=25, maximum=25))
    if multilingual:
        results["translate"] = greedy(task="translate")
        detected = first[:, [special[f"<|{language}|>"] for language in LANGUAGES]].argmax(-1)
        results["languages"] = [LANGUAGES[index] for index in detected]
    results["no_speech_probability"] = [round(float(value), 6) for value in silence]
    results["forced_tokens"] = forced[0].tolist()
    # Every 8th frame and 4th position are enough, since errors spread to neighbours.
    tensors = dict(samples=(samples * 32768).to(torch.int16), features=features[:, :, ::8], encoded=encoded[:, ::4], logits=logits[:, :, ::2])
    return results, tensors


CASES = {
    "base": dict(dtype=torch.float32),
    "uneven": dict(mels=128, heads=(4, 8), layers=(1, 3), inner=(96, 160), seed=2),
    "half": dict(dtype=torch.float16, shard="150KB", seed=3),
    "bfloat": dict(heads=(2, 2), seed=4),
    "english": dict(multilingual=False, seed=5),
    "shared-1": dict(groups=1, seed=6),
    "shared-2": dict(groups=2, seed=7),
    "suppress": dict(seed=8, scale_embedding=True, generation=dict(suppress_tokens=list(range(60, 120)), begin_suppress_tokens=[7, 8, 256],
                                                                   max_initial_timestamp_index=10)),
    "untied": dict(seed=9, tied=False),
    "window30": dict(window=30, width=32, layers=(1, 1), seed=10),
}


def make(name, output: Path, *, mels=80, width=64, heads=(4, 4), layers=(2, 2), inner=(128, 128), window=2, dtype=torch.bfloat16,
         shard="1GB", multilingual=True, groups=None, scale_embedding=False, tied=True, generation=None, seed=1):
    torch.manual_seed(seed)
    special = special_tokens(multilingual, window)
    config = WhisperConfig(
        vocab_size=TEXT_TOKENS + len(special), num_mel_bins=mels, d_model=width, encoder_layers=layers[0], decoder_layers=layers[1],
        encoder_attention_heads=heads[0], decoder_attention_heads=heads[1], encoder_ffn_dim=inner[0], decoder_ffn_dim=inner[1],
        max_source_positions=50 * window, max_target_positions=128, scale_embedding=scale_embedding, tie_word_embeddings=tied,
        decoder_start_token_id=special["<|startoftranscript|>"], bos_token_id=special["<|endoftext|>"],
        eos_token_id=special["<|endoftext|>"], pad_token_id=special["<|endoftext|>"], begin_suppress_tokens=None)
    model = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            # Larger than the usual initialization, so that the output depends on the audio and on the positions.
            if parameter_name.endswith("decoder.embed_positions.weight"):
                parameter.normal_(0, 1)
            elif "embed_tokens" in parameter_name or "proj_out" in parameter_name:
                parameter.normal_(0, 1 / math.sqrt(width))
            elif parameter.dim() > 1 and "embed_positions" not in parameter_name:
                parameter.normal_(0, 1.6 / math.sqrt(parameter[0].numel()))
            elif parameter.dim() == 1 and parameter_name.endswith("bias"):
                parameter.normal_(0, 0.1)
    model.to(dtype)
    folder = output / name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    if groups:
        shared = share_heads(model.state_dict(), config, groups)
        model.load_state_dict(repeat_heads(shared, config, groups))
    chosen = dict(no_timestamps_token_id=special["<|notimestamps|>"], is_multilingual=multilingual, max_length=128,
                  prev_sot_token_id=special["<|startofprev|>"], suppress_tokens=None, begin_suppress_tokens=None,
                  max_initial_timestamp_index=50) | (generation or {})
    if multilingual:
        chosen |= dict(lang_to_id={f"<|{language}|>": special[f"<|{language}|>"] for language in LANGUAGES},
                       task_to_id={task: special[f"<|{task}|>"] for task in ("transcribe", "translate")})
    model.generation_config.update(**chosen)
    for key, value in chosen.items():
        setattr(model.generation_config, key, value)
    model.save_pretrained(folder, max_shard_size=shard)
    if groups:
        saved = json.loads((folder / "config.json").read_text())
        for part in ("encoder", "decoder", "cross"):
            saved[f"{part}_key_value_heads"] = groups
        (folder / "config.json").write_text(json.dumps(saved, indent=2) + "\n")
        stored = load_file(folder / "model.safetensors")
        save_file({key: shared[key] for key in stored}, folder / "model.safetensors", metadata={"format": "pt"})
    extractor = WhisperFeatureExtractor(feature_size=mels, chunk_length=window)
    extractor.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(special), separators=(",", ":")))
    results, tensors = reference(model.float(), extractor, special, multilingual, window)
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "expected.safetensors")
    (folder / "expected.json").write_text(json.dumps(results, indent=1) + "\n")
    print(name, {mode: (list(map(len, results[mode]["tokens"])), results[mode]["margins"]) for mode in ("plain", "timestamps")})


def main():
    default = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "reference"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", nargs="?", type=Path, default=default)
    output = parser.parse_args().output
    for name, options in CASES.items():
        make(name, output, **options)


if __name__ == "__main__":
    main()
