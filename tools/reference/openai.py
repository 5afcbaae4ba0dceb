"""Stores what openai/whisper's own code decodes with the random checkpoints that make_checkpoints.py made.

    python openai.py CHECKOUT [OUTPUT]      (a checkout of github.com/openai/whisper; default: test/fixtures/reference)

It writes `decoding.json` to the folder of each case: tokens of windows with beam search, prompts and suppressed tokens,
and segments of a longer recording (recording.safetensors) with temperature fallback. `silence` has the same for silence
after the end of the recording instead of zeros as features.

Its code is unchanged except for two things: the tokenizer is that of the checkpoint, and windows have the checkpoint's
length.
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

# Not all: if a model generates a segment that ends at 0, openai/whisper loops forever.
RECORDED = ["base", "untied"]
CASES = ["base", "uneven", "english", "shared-1", "untied"]


def stub(name: str, **members):
    sys.modules[name] = types.SimpleNamespace(**members)


class Encoding:
    """tiktoken's interface for whisper.tokenizer, with the bytes and special tokens of tokenizer.json."""

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
        # Random models generate <|de|> or <|nospeech|> in the middle of a text; real ones do not, and these are not
        # text.
        data = b"".join(bytes([self.bytes[token]]) for token in tokens if token in self.bytes)
        return data.decode(errors="replace")


def load(folder: Path):
    """The checkpoint in openai/whisper's model."""
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
        # The logits' product reads `.weight` directly, not through the embedding's forward.
        model.decoder.token_embedding = Untied(embedding.weight.data, output)
    return model.eval()


class Untied(torch.nn.Module):
    """An embedding whose `weight`, which the logits' product uses, is another matrix."""

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

TIMED = ["greedy", "beams 5", "timestamps", "timestamps, beams 2", "few tokens, beams 5"]

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


def token_times(model, mel, prompt, tokens, limit):
    """The start of each token and the end of the last one, in seconds, like find_alignment but at the positions of
    decoding."""
    from whisper.model import disable_sdpa
    from whisper.timing import dtw, median_filter

    scores = [None] * model.dims.n_text_layer
    hooks = [block.cross_attn.register_forward_hook(lambda _, __, outputs, index=index: scores.__setitem__(index, outputs[-1][0]))
             for index, block in enumerate(model.decoder.blocks)]
    with disable_sdpa():
        model(mel.unsqueeze(0), torch.tensor([[*prompt, *tokens]]))
    for hook in hooks:
        hook.remove()
    weights = torch.stack([scores[layer][head] for layer, head in model.alignment_heads.indices().T]).softmax(-1)
    # The last token of a text that reached the length limit was never an input.
    weights = weights[:, len(prompt) - 1: len(prompt) + len(tokens) - (len(tokens) == limit)]
    std, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    text, time = dtw(-median_filter((weights - mean) / std, 7).mean(0))
    starts = time[np.pad(np.diff(text), (1, 0), constant_values=1).astype(bool)] * 0.02
    return [round(float(one), 2) for one in starts] + ([model.dims.n_audio_ctx * 0.02] if len(tokens) == limit else [])


def windows(model, folder):
    from whisper.audio import log_mel_spectrogram
    from whisper.decoding import DecodingOptions, DecodingTask

    samples = load_file(folder / "expected.safetensors")["samples"].float() / 32768
    results = {}
    for name, options in WINDOWS.items():
        # openai/whisper assumes windows of 30 s. 15 s of these are index 50 of the 100 timestamps of these windows, as
        # in generation_config.json.
        chosen = dict(language="en", without_timestamps=True, suppress_tokens=None, fp16=False, sample_len=40,
                      max_initial_timestamp=50 * 30 / model.dims.n_audio_ctx) | copy.deepcopy(options)
        results[name] = []
        for row in samples:
            mel = log_mel_spectrogram(row, model.dims.n_mels)
            task = DecodingTask(model, DecodingOptions(**copy.deepcopy(chosen)))
            one = task.run(mel.unsqueeze(0))[0]
            results[name].append(dict(tokens=one.tokens, avg_logprob=round(one.avg_logprob, 5), no_speech_prob=round(one.no_speech_prob, 6)))
            if name in TIMED:
                results[name][-1]["times"] = token_times(model, mel, task.initial_tokens, one.tokens, chosen["sample_len"])
    return results


def recordings(model, silence=False):
    """Segments of a recording of 7 s: three and a half windows if each is used completely, more if timestamps shorten
    them."""
    whole = sys.modules["whisper.transcribe"]  # the package's attribute of this name is the function
    seconds = model.dims.n_audio_ctx // 50
    whole.N_FRAMES, whole.N_SAMPLES = 100 * seconds, 16000 * seconds

    def with_silence(mel, length):
        """The features after the end of the segment, which openai/whisper replaces by zeros."""
        rows = mel.stride(0)
        return torch.as_strided(mel, (mel.shape[0], length), (rows, 1), mel.storage_offset()).contiguous()

    whole.pad_or_trim = with_silence if silence else sys.modules["whisper.audio"].pad_or_trim
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


TEXTS = [
    ("en", " Hello, world! It's a (test) of \"quotes\" - and 3.5% more... \u00a1Hola! [end]"),
    ("de", " Gr\u00fc\u00dfe aus K\u00f6ln: \u201ewirklich\u201c?"),
    ("ja", "\u4eca\u65e5\u306f\u3001\u4e16\u754c\u3002\u300c\u306d\u3048\u300d"),
    ("zh", "\u4f60\u597d\uff0c\u4e16\u754c\uff01 OK"),
]


def words(tokenizer_of):
    """Texts split into words, and segments with words at given times, without a model."""
    import whisper.timing as timing

    split = []
    for language, text in TEXTS:
        tokenizer = tokenizer_of(True, language="en")
        tokenizer.language = language
        tokens = tokenizer.encode(text)
        parts, part_tokens = tokenizer.split_to_word_tokens(tokens + [tokenizer.eot])
        merged = [timing.WordTiming(word, list(own), 0, 0, 1) for word, own in zip(parts[:-1], part_tokens[:-1])]
        timing.merge_punctuations(merged, "\"'\u201c\u00bf([{-", "\"'.\u3002,\uff0c!\uff01?\uff1f:\uff1a\u201d)]}\u3001")
        split.append(dict(language=language, tokens=tokens, words=parts[:-1], merged=[word.word for word in merged]))
    tokenizer = tokenizer_of(True, language="en")
    generator = np.random.default_rng(5)
    cases = []
    for index in range(12):
        texts = [[" one", " two", " three", "."], [" four", ",", " five", " six", "!"], [" seven", "."]][: 1 + index % 3]
        lengths = generator.choice([0.1, 0.2, 0.3, 0.5, 0.0, 3.0], size=sum(map(len, texts)), p=[0.3, 0.3, 0.2, 0.1, 0.05, 0.05])
        ends = np.round(np.cumsum(lengths) + generator.choice([0.0, 0.4, 6.0]), 2)
        alignment, segments, place = [], [], 0
        for texts_of_segment in texts:
            tokens, first = [], place
            for text in texts_of_segment:
                own = tokenizer.encode(text)
                tokens += own
                start = float(ends[place - 1]) if place else float(ends[0] - lengths[0])
                alignment.append((text, own, start, float(ends[place]), round(float(generator.random()), 3)))
                place += 1
            shift = float(generator.choice([0.0, 0.3, 0.8, -0.7]))
            segments.append(dict(seek=700, start=7.0 + max(0.0, alignment[first][2] + shift), end=7.0 + alignment[-1][3] + shift, tokens=tokens))
        case = dict(alignment=alignment, segments=copy.deepcopy(segments), last=float(generator.choice([0.0, 6.5])))
        timing.find_alignment = lambda *_, **__: [timing.WordTiming(*one) for one in copy.deepcopy(alignment)]
        timing.add_word_timestamps(segments=segments, model=None, tokenizer=tokenizer, mel=None, num_frames=0, last_speech_timestamp=case["last"])
        cases.append(case | dict(expected=segments))
    return dict(split=split, segments=cases)


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
        if case == "base":
            (options.output / "words.json").write_text(json.dumps(words(tokenizer), default=float) + "\n")
        results = dict(windows=windows(model, folder), recordings=recordings(model) if case in RECORDED else {},
                       silence=recordings(model, silence=True) if case in RECORDED else {})
        (folder / "decoding.json").write_text(json.dumps(results, separators=(",", ":")) + "\n")
        print(case, {name: [len(one["tokens"]) for one in found] for name, found in results["windows"].items()})
        print(case, {name: [(one["seek"], one["temperature"]) for one in found] for name, found in results["recordings"].items()})


if __name__ == "__main__":
    main()
