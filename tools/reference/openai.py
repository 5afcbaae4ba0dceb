"""Stores what openai/whisper's own code decodes with the random checkpoints that make_checkpoints.py made.

    python openai.py CHECKOUT [OUTPUT]      (a checkout of github.com/openai/whisper; default: test/fixtures/reference)

Each case's folder gets `decoding.json`: tokens of windows under beam search, prompts and lists of suppressed tokens, and
segments of a longer recording (recording.safetensors) under temperature fallback. Its code runs unchanged but for three things: the tokenizer is
the checkpoint's, a window has the checkpoint's length, and behind a recording's end there is silence, not zeroed features.
"""

import argparse
import copy
import json
import sys
import types
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from make_checkpoints import LANGUAGES, byte_characters, repeat_heads, sound

# Not all: a model that writes a segment's end of 0 sends openai/whisper round in a circle.
RECORDED = ["base", "untied"]
CASES = ["base", "uneven", "english", "shared-1", "untied"]


def stub(name: str, **members):
    sys.modules[name] = types.SimpleNamespace(**members)


class Encoding:
    """What whisper.tokenizer wants of tiktoken, from tokenizer.json: bytes and special tokens."""

    def __init__(self, folder: Path):
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        self.special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
        self.bytes = {tokenizer["model"]["vocab"][character]: byte for byte, character in enumerate(byte_characters())}
        self.ids = {byte: token for token, byte in self.bytes.items()}
        self.eot_token = self.special["<|endoftext|>"]
        self.special_tokens_set = set(self.special)

    def encode_single_token(self, text):
        return self.special[text]

    def encode(self, text, **_):
        return [self.ids[byte] for byte in text.encode()]

    def decode(self, tokens, **_):
        # Random models write <|de|> or <|nospeech|> in the middle of a text; real ones don't, and it is no text.
        data = b"".join(bytes([self.bytes[token]]) for token in tokens if token in self.bytes)
        return data.decode(errors="replace")


def load(folder: Path):
    """The checkpoint in openai/whisper's own model."""
    from whisper.model import ModelDimensions, Whisper
    from transformers import WhisperConfig

    config = WhisperConfig.from_pretrained(folder)
    groups = json.loads((folder / "config.json").read_text()).get("decoder_key_value_heads")
    state = {key.removeprefix("model."): value.float() for key, value in load_file(folder / "model.safetensors").items()}
    if groups:
        state = repeat_heads(state, config, groups)

    class Model(Whisper):
        is_multilingual = "<|de|>" in (folder / "tokenizer.json").read_text()
        num_languages = len(LANGUAGES)

    model = Model(ModelDimensions(
        config.num_mel_bins, config.max_source_positions, config.d_model, config.encoder_attention_heads, config.encoder_layers,
        config.vocab_size, config.max_target_positions, config.d_model, config.decoder_attention_heads, config.decoder_layers))
    for stack, width in ((model.encoder, config.encoder_ffn_dim), (model.decoder, config.decoder_ffn_dim)):
        for block in stack.blocks:
            block.mlp = torch.nn.Sequential(torch.nn.Linear(config.d_model, width), torch.nn.GELU(), torch.nn.Linear(width, config.d_model))
    names = [("layers.", "blocks."), ("encoder_attn_layer_norm", "cross_attn_ln"), ("self_attn_layer_norm", "attn_ln"),
             ("final_layer_norm", "mlp_ln"), ("encoder_attn.", "cross_attn."), ("self_attn.", "attn."), ("fc1", "mlp.0"), ("fc2", "mlp.2"),
             ("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out"), ("embed_positions.weight", "positional_embedding"),
             ("embed_tokens", "token_embedding"), ("encoder.layer_norm", "encoder.ln_post"), ("decoder.layer_norm", "decoder.ln")]
    renamed = {}
    for key, value in state.items():
        for old, new in names:
            key = key.replace(old, new)
        renamed[key] = value
    output = renamed.pop("proj_out.weight", None)
    model.load_state_dict(renamed)
    if output is not None and not config.tie_word_embeddings:
        embedding = model.decoder.token_embedding
        # The output product reads `.weight` outside of the embedding's own forward.
        model.decoder.token_embedding = Untied(embedding.weight.data, output)
    return model.eval()


class Untied(torch.nn.Module):
    """An embedding whose `weight`, which the output product takes, is another matrix."""

    def __init__(self, table, weight):
        super().__init__()
        self.table, self.weight = torch.nn.Parameter(table), torch.nn.Parameter(weight)

    def forward(self, tokens):
        return self.table[tokens]


WINDOWS = {
    "greedy": dict(),
    "beams 2": dict(beam_size=2),
    "beams 5": dict(beam_size=5),
    "beams 5, patience 2": dict(beam_size=5, patience=2.0),
    "beams 5, length penalty 0.6": dict(beam_size=5, length_penalty=0.6),
    "timestamps": dict(without_timestamps=False),
    "timestamps, beams 2": dict(without_timestamps=False, beam_size=2),
    "timestamps, beams 5": dict(without_timestamps=False, beam_size=5),
    "prompt": dict(prompt=[40, 41, 42, 43, 44, 90]),
    "long prompt, beams 5": dict(prompt=[30 + i % 80 for i in range(100)], beam_size=5, sample_len=20),
    "prefix": dict(prefix=[72, 105, 33], sample_len=20),
    "suppress, beams 5": dict(suppress_tokens=list(range(0, 120)), beam_size=5),
    "few tokens, beams 2": dict(suppress_tokens=list(range(10, 250)), beam_size=2),
    "few tokens, beams 5": dict(suppress_tokens=list(range(10, 250)), beam_size=5),
    "few tokens, beams 5, patience 2": dict(suppress_tokens=list(range(10, 250)), beam_size=5, patience=2.0),
    "few tokens, timestamps, beams 5": dict(suppress_tokens=list(range(10, 250)), beam_size=5, without_timestamps=False),
}

RECORDINGS = {
    "defaults": dict(),
    "without thresholds": dict(compression_ratio_threshold=None, logprob_threshold=None),
    "beams, then greedy": dict(beam_size=5, temperature=(0.0, 1e-6), logprob_threshold=-2.6),
    "improbable is repeated": dict(temperature=(0.0, 1e-6, 2e-6), logprob_threshold=-2.8),
    "previous text": dict(condition_on_previous_text=True, temperature=0.0),
    "prompt": dict(initial_prompt="Hello", temperature=0.0),
    "carried prompt": dict(initial_prompt="Hello", carry_initial_prompt=True, temperature=0.0, condition_on_previous_text=True),
}


def recording():
    return torch.cat([sound(3 * 16000, 1), torch.zeros(16000), sound(3 * 16000, 2)])


def windows(model, folder):
    from whisper.audio import log_mel_spectrogram
    from whisper.decoding import DecodingOptions, decode

    samples = load_file(folder / "expected.safetensors")["samples"].float() / 32768
    results = {}
    for name, options in WINDOWS.items():
        # 15 s of the 30 s that openai/whisper takes a window for: index 50 of these windows' 100, as in generation_config.json.
        chosen = dict(language="en", without_timestamps=True, suppress_tokens=None, fp16=False, sample_len=40,
                      max_initial_timestamp=50 * 30 / model.dims.n_audio_ctx) | copy.deepcopy(options)
        found = [decode(model, log_mel_spectrogram(row, model.dims.n_mels), DecodingOptions(**copy.deepcopy(chosen))) for row in samples]
        results[name] = [dict(tokens=one.tokens, avg_logprob=round(one.avg_logprob, 5), no_speech_prob=round(one.no_speech_prob, 6))
                         for one in found]
    return results


def recordings(model):
    """Segments of seven seconds: three windows and a half where each is used up, more where timestamps cut them."""
    whole = sys.modules["whisper.transcribe"]  # the package's attribute of this name is the function
    seconds = model.dims.n_audio_ctx // 50
    whole.N_FRAMES, whole.N_SAMPLES = 100 * seconds, 16000 * seconds

    def with_silence(mel, length):
        """The features as they are behind the segment's end, which openai/whisper cuts off and fills with zeros."""
        rows = mel.stride(0)
        return torch.as_strided(mel, (mel.shape[0], length), (rows, 1), mel.storage_offset()).contiguous()

    whole.pad_or_trim = with_silence
    audio = recording()
    results = {}
    for name, options in RECORDINGS.items():
        chosen = dict(language="en", fp16=False, suppress_tokens=None, condition_on_previous_text=False,
                      max_initial_timestamp=50 * 30 / model.dims.n_audio_ctx, sample_len=40, no_speech_threshold=None) | options
        if name == "defaults":
            chosen["temperature"] = (0.0, 1e-6)
        result = whole.transcribe(model, audio, **chosen)
        results[name] = [
            dict(seek=one["seek"], start=round(one["start"], 2), end=round(one["end"], 2), tokens=one["tokens"], temperature=one["temperature"],
                 avg_logprob=round(one["avg_logprob"], 5), compression_ratio=round(one["compression_ratio"], 3))
            for one in result["segments"]
        ]
    return results


@torch.no_grad()
def main():
    default = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "reference"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("output", nargs="?", type=Path, default=default)
    options = parser.parse_args()
    stub("tiktoken", Encoding=Encoding)
    stub("numba", jit=lambda **_: lambda function: function)
    stub("more_itertools", windowed=None)
    sys.path.insert(0, str(options.checkout))
    import whisper.decoding
    import whisper.tokenizer
    import whisper.transcribe

    save_file(dict(samples=(recording() * 32768).to(torch.int16)), options.output / "recording.safetensors")
    for case in CASES:
        folder = options.output / case
        model = load(folder)
        encoding = Encoding(folder)

        def tokenizer(multilingual, *, num_languages=99, language=None, task=None):
            return whisper.tokenizer.Tokenizer(encoding=encoding, num_languages=len(LANGUAGES), language=language if multilingual else None,
                                               task=(task or "transcribe") if multilingual else None)

        whisper.decoding.get_tokenizer = sys.modules["whisper.transcribe"].get_tokenizer = tokenizer
        results = dict(windows=windows(model, folder), recordings=recordings(model) if case in RECORDED else {})
        (folder / "decoding.json").write_text(json.dumps(results, separators=(",", ":")) + "\n")
        print(case, {name: [len(one["tokens"]) for one in found] for name, found in results["windows"].items()})
        print(case, {name: [(one["seek"], one["temperature"]) for one in found] for name, found in results["recordings"].items()})


if __name__ == "__main__":
    main()
