"""Sounds without words: hum, tones, music, sweeps, noise and clicks, for windows without speech and as background of
speech."""

import numpy as np

from features import SAMPLE_RATE


def coloured_noise(rng: np.random.Generator, count: int, exponent: float) -> np.ndarray:
    """Noise with a power of frequency^-exponent, at an RMS of 1."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum *= np.maximum(np.arange(len(spectrum)), 20.0) ** (-exponent / 2)
    noise = np.fft.irfft(spectrum, count)
    return noise / np.sqrt((noise**2).mean())


def harmonics(rng: np.random.Generator, time: np.ndarray, frequency: float, count: int, decay: float) -> np.ndarray:
    sound = np.zeros(len(time))
    for order in range(1, count + 1):
        if frequency * order < 7800:
            phase = rng.uniform(0, 2 * np.pi)
            sound += np.sin(2 * np.pi * frequency * order * time + phase) * order**-decay * rng.uniform(0.5, 1)
    return sound


def hum(rng, time):
    mains = rng.random() < 0.7
    frequency = rng.choice([50, 60, 100, 120]) + rng.uniform(-1, 1) if mains else rng.uniform(40, 300)
    return harmonics(rng, time, frequency, rng.integers(1, 16), rng.uniform(0.3, 2.5))


def tone(rng, time):
    sound = harmonics(rng, time, 10 ** rng.uniform(2, 3.7), rng.integers(1, 4), 1.0)
    if rng.random() < 0.6:  # beeps
        period = rng.uniform(0.15, 2)
        sound *= (time % period) < period * rng.uniform(0.2, 0.8)
    return sound


def music(rng, time):
    sound = np.zeros(len(time))
    beat, base, drums = rng.uniform(0.15, 0.8), rng.uniform(80, 400), rng.random() < 0.5
    for start in (np.arange(0, time[-1], beat) * SAMPLE_RATE).astype(int):
        for _ in range(rng.integers(1, 5)):
            t = time[: min(len(time) - start, int(SAMPLE_RATE * beat * rng.uniform(0.8, 4)))]
            frequency = base * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 11, 12, 14, 16]) / 12)
            envelope = np.exp(-t * rng.uniform(0.5, 8)) * np.minimum(1, t * rng.uniform(20, 200))
            sound[start : start + len(t)] += envelope * harmonics(rng, t, frequency, rng.integers(1, 8), rng.uniform(0.6, 2))
        if drums and rng.random() < 0.7:
            t = time[: min(len(time) - start, int(SAMPLE_RATE * 0.12))]
            sound[start : start + len(t)] += rng.standard_normal(len(t)) * np.exp(-t * rng.uniform(320, 960)) * rng.uniform(0.3, 2)
    return sound


def noise(rng, time):
    sound = coloured_noise(rng, len(time), rng.uniform(0, 2.2))
    if rng.random() < 0.4:
        sound *= 1 + 0.9 * np.sin(2 * np.pi * rng.uniform(0.1, 8) * time + rng.uniform(0, 6))
    return sound


def white_noise(rng, time):
    return rng.standard_normal(len(time))


def siren(rng, time):
    frequency, rate, depth = 10 ** rng.uniform(2, 3.3), rng.uniform(0.1, 3), rng.uniform(0.05, 0.8)
    return np.sin(2 * np.pi * np.cumsum(frequency * (1 + depth * np.sin(2 * np.pi * rate * time))) / SAMPLE_RATE)


def clicks(rng, time):
    sound = np.zeros(len(time))
    for _ in range(rng.integers(1, 60)):
        start, length = rng.integers(0, len(time) - 2000), rng.integers(50, 2000)
        sound[start : start + length] += (
            rng.standard_normal(length) * np.exp(-np.arange(length) / rng.uniform(10, 400)) * rng.uniform(0.1, 1))
    return sound + coloured_noise(rng, len(time), 1) * 10 ** rng.uniform(-4, -1.5)


KINDS = [hum, hum, tone, music, music, noise, siren, clicks, white_noise]


def wordless(rng: np.random.Generator, seconds: float = 10) -> np.ndarray:
    """A random sound without words, with a random loudness."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    sound = KINDS[rng.integers(len(KINDS))](rng, time)
    sound = sound / max(1e-9, np.abs(sound).max()) * 10 ** rng.uniform(-3.3, -0.05)
    if rng.random() < 0.5:
        sound = sound + coloured_noise(rng, len(time), rng.uniform(0, 2)) * 10 ** rng.uniform(-4.5, -2.0)
    return np.clip(sound, -1, 1).astype(np.float32)
