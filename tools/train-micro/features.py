"""Whisper's log-mel features, in numpy arrays that are small on disk."""

import numpy as np
import torch
from transformers import WhisperFeatureExtractor

SAMPLE_RATE = 16000
HOP = 160  # samples a frame
WINDOW_FRAMES = 1000  # 10 s
FILTERS = torch.tensor(WhisperFeatureExtractor(feature_size=80).mel_filters.T.copy()).float()  # [80, 201]
HANN = torch.hann_window(400)


def log_mel(samples: np.ndarray) -> np.ndarray:
    """[frames, 80]: base-10 logarithm of the power, without Whisper's limit of 80 dB below the maximum, which is
    applied after augmentation."""
    signal = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
    spectrum = torch.stft(signal, 400, HOP, window=HANN, center=True, pad_mode="reflect", return_complex=True)[:, :-1]
    return (FILTERS @ spectrum.abs() ** 2).clamp_min(1e-10).log10().T.numpy()


def normalize(mel: torch.Tensor) -> torch.Tensor:
    """Applies Whisper's limit and scaling to one window or to a batch [..., frames, 80]."""
    mel = torch.maximum(mel, mel.amax((-2, -1), keepdim=True) - 8)
    return (mel + 4) / 4
