"""Stock transformers with a model: a folder in Hugging Face format, with or without shared key/value heads, or a
checkpoint."""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration, WhisperProcessor

from export import config, read_network
from features import SAMPLE_RATE
from heads import repeated

WINDOW = 10 * SAMPLE_RATE


class Transcriber:
    """Greedy decoding in float32 with the stored float16 weights."""

    def __init__(self, model: Path, tokenizer: Path | None = None):
        tokenizer = tokenizer or model
        network = read_network(model)
        shape = network.shape
        weights = {name: tensor.half() for name, tensor in network.state_dict().items() if not name.startswith("ctc")}
        special = json.loads((tokenizer / "generation_config.json").read_text())
        self.model = WhisperForConditionalGeneration(WhisperConfig(**config(shape, special, repeat=True)))
        weights = {name: tensor.float() for name, tensor in repeated(weights, shape).items()}
        missing, unexpected = self.model.load_state_dict(weights, strict=False)
        assert not unexpected and set(missing) <= {"proj_out.weight"}, (missing, unexpected)
        self.model.tie_weights()
        self.model.float().eval()
        self.model.generation_config = type(self.model.generation_config).from_pretrained(tokenizer)
        self.processor = WhisperProcessor.from_pretrained(tokenizer)
        self.tokenizer = self.processor.tokenizer

    def features(self, recordings: list[np.ndarray]) -> torch.Tensor:
        return self.processor(recordings, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features

    @torch.no_grad()
    def windows(self, recordings: list[np.ndarray], timestamps: bool = False, batch: int = 16) -> list[list[int]]:
        """Tokens of each recording of at most 10 s, without prompt and end."""
        # A network whose heads were just averaged generates timestamps unasked, and transformers would seek by them in
        # tiny steps.
        first = self.model.generation_config.no_timestamps_token_id + 1
        suppressed = None if timestamps else list(range(first, self.model.config.vocab_size))
        tokens = []
        for i in range(0, len(recordings), batch):
            found = self.model.generate(self.features(recordings[i : i + batch]), language="en", task="transcribe",
                                        return_timestamps=timestamps, max_new_tokens=120, suppress_tokens=suppressed)
            tokens += [[token for token in row if token != self.tokenizer.eos_token_id] for row in found.tolist()]
        return tokens

    @torch.no_grad()
    def long(self, recording: np.ndarray) -> dict:
        """transformers' long-form transcription: `sequences` and `segments`."""
        inputs = self.processor(recording, sampling_rate=SAMPLE_RATE, return_tensors="pt", truncation=False, padding="longest",
                                return_attention_mask=True)
        return self.model.generate(**inputs, language="en", task="transcribe", return_timestamps=True, return_segments=True)

    def text(self, tokens) -> str:
        return self.tokenizer.decode(tokens, skip_special_tokens=True)

    def segments(self, tokens: list[int]) -> list[dict]:
        """Start and end in seconds (the end is None if the window cut the segment off), and text."""
        offsets = self.tokenizer.decode(tokens, skip_special_tokens=True, output_offsets=True)["offsets"]
        return [dict(start=round(one["timestamp"][0], 2), end=None if one["timestamp"][1] is None else round(one["timestamp"][1], 2),
                     text=one["text"]) for one in offsets]
