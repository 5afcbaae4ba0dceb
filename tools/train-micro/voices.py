"""The synthetic voices: espeak-ng in this process, flite, pico and festival as commands.

`Voice` names one; `speak` gives 16 kHz samples. README.md lists the licence of each.
"""

import ctypes
import random
import subprocess
import tempfile
import wave
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soxr

from features import HOP, SAMPLE_RATE


@dataclass
class Voice:
    engine: str  # espeak, flite, pico or festival
    name: str
    stretch: float = 1.0  # flite, pico, festival: of durations
    pitch: float = 0.0  # flite: mean fundamental frequency in Hz, 0 for the voice's own; pico: percent of it; espeak: 0 to 100
    speed: int = 160  # espeak: words a minute
    range: int = 50  # espeak: of the pitch, 0 to 100
    resample: float = 1.0  # above 1: played faster, which raises pitch and formants


# Voices with several entries are chosen more often.
ESPEAK_ACCENTS = ["en-us"] * 3 + ["en", "en-gb-x-rp", "en-029", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc"]
ESPEAK_VARIANTS = (
    [""] * 4 + [f"+m{i}" for i in range(1, 9)] + ["+f1", "+f1", "+f2", "+f2", "+f3", "+f3", "+f5", "+f5"]
    + [f"+{name}" for name in (
        "klatt klatt2 klatt3 klatt4 Alex Annie Denis Lee Mario Mike adam anika belinda boris caleb david ed linda max miguel pablo "
        "paul quincy rob robert shelby steph steph2 travis victor zac Alicia john").split()]
)
ESPEAK_HELD_OUT = ["en-us+f4", "en+f4", "en-us+Michael", "en-gb-x-rp+Andy"]
FLITE = {"slt": 175, "rms": 98, "kal16": 105}  # mean fundamental frequency in Hz
FLITE_HELD_OUT = ["awb"]
PICO = ["en-US", "en-GB"]
FESTIVAL = ["cmu_us_slt_arctic_hts", "ked_diphone", "kal_diphone"]
# The names of training voices in evaluations.
NATURAL = {f"flite {name}": ("flite", name) for name in [*FLITE, *FLITE_HELD_OUT]} | {
    "festival slt_hts": ("festival", "cmu_us_slt_arctic_hts"),
    "festival ked": ("festival", "ked_diphone"),
    "festival kal": ("festival", "kal_diphone"),
} | {f"pico {name}": ("pico", name) for name in PICO}


def training_voice(engine: str, rng: random.Random) -> Voice:
    """A voice of the engine with random speed and pitch. Half of the natural ones, and a fifth of espeak's, are
    resampled."""
    resample = rng.uniform(0.87, 1.15) if rng.random() < (0.2 if engine == "espeak" else 0.5) else 1.0
    if engine == "espeak":
        name = rng.choice(ESPEAK_ACCENTS) + rng.choice(ESPEAK_VARIANTS)
        return Voice(engine, name, pitch=rng.randint(25, 75), speed=rng.randint(125, 195), range=rng.randint(30, 70),
                     resample=resample)
    if engine == "flite":
        name = rng.choice(list(FLITE))
        pitch = 0.0 if rng.random() < 0.3 else FLITE[name] * rng.uniform(0.85, 1.2)
        return Voice(engine, name, stretch=rng.uniform(0.85, 1.2), pitch=pitch, resample=resample)
    if engine == "pico":
        return Voice(engine, rng.choice(PICO), stretch=rng.uniform(0.85, 1.2), pitch=rng.uniform(85, 120), resample=resample)
    return Voice(engine, rng.choice(FESTIVAL), stretch=rng.uniform(0.9, 1.15), resample=resample)


class Espeak:
    """libespeak-ng, called directly: a process for each sentence takes ten times as long."""

    RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER

    def __init__(self):
        self.library = ctypes.CDLL("libespeak-ng.so.1")
        self.rate = self.library.espeak_Initialize(2, 0, None, 0)  # AUDIO_OUTPUT_SYNCHRONOUS
        self.chunks: list[np.ndarray] = []
        callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

        def collect(samples, count, _events):
            if samples and count > 0:
                self.chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
            return 0

        self.callback = callback(collect)  # kept alive as long as the library may call it
        self.library.espeak_SetSynthCallback(self.callback)

    def speak(self, text: str, voice: Voice) -> np.ndarray:
        self.chunks = []
        if self.library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice.name}")
        for parameter, value in ((self.RATE, voice.speed), (self.PITCH, int(voice.pitch)), (self.RANGE, voice.range)):
            self.library.espeak_SetParameter(parameter, value, 0)
        data = text.encode() + b"\0"
        self.library.espeak_Synth(data, len(data), 0, 1, 0, 1, None, None)
        samples = np.concatenate(self.chunks).astype(np.float32) / 32768
        return soxr.resample(samples, self.rate, SAMPLE_RATE)


def read_wave(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
        return soxr.resample(samples, file.getframerate(), SAMPLE_RATE)


def flite(text: str, voice: Voice, folder: Path) -> np.ndarray:
    path = folder / "flite.wav"
    command = ["flite", "-voice", voice.name, "--setf", f"duration_stretch={voice.stretch:.3f}"]
    if voice.pitch:
        command += ["--setf", f"int_f0_target_mean={voice.pitch:.0f}"]
    subprocess.run([*command, "-t", text, "-o", path], check=True, stdout=subprocess.DEVNULL)
    return read_wave(path)


def pico(text: str, voice: Voice, folder: Path) -> np.ndarray:
    path = folder / "pico.wav"
    marked = f'<speed level="{100 / voice.stretch:.0f}"><pitch level="{voice.pitch or 100:.0f}">{text}</pitch></speed>'
    subprocess.run(["pico2wave", "-l", voice.name, "-w", path, marked], check=True)
    return read_wave(path)


COMMANDS = {"flite": flite, "pico": pico}


def festival(items: list[tuple[str, Voice]], folder: Path) -> list[np.ndarray | None]:
    """One process for many sentences, since it starts slowly; None if it failed."""
    script = folder / "festival.scm"
    script.write_text("\n".join(
        f"(voice_{voice.name}) (Parameter.set 'Duration_Stretch {voice.stretch:.2f}) "
        f"(utt.save.wave (utt.synth (Utterance Text \"{text}\")) \"{folder}/{index}.wav\" 'riff)"
        for index, (text, voice) in enumerate(items)))
    subprocess.run(["festival", "-b", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    spoken: list[np.ndarray | None] = []
    for index in range(len(items)):
        path = folder / f"{index}.wav"
        spoken.append(read_wave(path) if path.exists() else None)
        path.unlink(missing_ok=True)
    return spoken


def trimmed(samples: np.ndarray) -> np.ndarray | None:
    """Removes silence at both ends except 20 ms, and normalizes loudness; None if the audio is silent."""
    blocks = len(samples) // HOP
    energy = (samples[: blocks * HOP].reshape(blocks, HOP) ** 2).mean(1)
    if blocks == 0:
        return None
    loud = np.nonzero(energy > max(1e-7, np.percentile(energy, 95) * 1e-4))[0]
    if len(loud) < 10:
        return None
    samples = samples[max(0, loud[0] - 2) * HOP : (loud[-1] + 3) * HOP]
    samples = samples * (0.07 / np.sqrt((samples**2).mean()))
    return (samples / max(1.0, np.abs(samples).max())).astype(np.float32)


class Speakers:
    """All engines behind one function; a context manager, since it has a temporary folder."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.espeak = Espeak()
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    def one(self, text: str, voice: Voice) -> np.ndarray | None:
        if voice.engine == "espeak":
            return self.espeak.speak(text, voice)
        if voice.engine == "festival":
            return festival([(text, voice)], self.path)[0]
        return COMMANDS[voice.engine](text, voice, self.path)

    def speak(self, items: list[tuple[str, Voice]]) -> list[np.ndarray | None]:
        """The trimmed samples of each text; None if the engine failed. Fastest if all jobs of a call use the same
        engine."""
        if all(voice.engine == "festival" for _, voice in items):
            spoken = festival(items, self.path)
        else:
            spoken = [self.one(text, voice) for text, voice in items]
        return [None if samples is None or len(samples) < 1600 else trimmed(resampled(samples, voice.resample))
                for samples, (_, voice) in zip(spoken, items)]


def resampled(samples: np.ndarray, factor: float) -> np.ndarray:
    return samples if factor == 1 else soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE)


def describe(voice: Voice) -> dict:
    return asdict(voice)
