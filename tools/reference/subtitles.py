"""Stores the subtitles that openai/whisper's own writers make of some words: test/fixtures/subtitles.json.

    python subtitles.py CHECKOUT      (a checkout of github.com/openai/whisper)
"""

import io
import json
import sys
from pathlib import Path

OPTIONS = {
    "plain": {},
    "width": dict(max_line_width=16),
    "width and count": dict(max_line_width=16, max_line_count=2),
    "count 1": dict(max_line_width=24, max_line_count=1),
    "words": dict(max_words_per_line=3),
    "highlighted": dict(highlight_words=True),
    "highlighted, width": dict(highlight_words=True, max_line_width=20, max_line_count=1),
}
TEXTS = ["So it begins, and nobody knows where.", "It ends.", "After a long silence there was, however, an extraordinarily-long-word to say."]


def transcription():
    """Words with a tenth of a second for each letter, and short pauses; a long one before the last segment."""
    segments, time = [], 0.5
    for index, text in enumerate(TEXTS):
        time += 4.0 if index == 2 else 0.0
        words = []
        for word in text.split(" "):
            words.append(dict(word=" " + word, start=round(time, 2), end=round(time + 0.1 * len(word), 2), probability=0.9))
            time = words[-1]["end"] + (0.1 if len(word) % 2 else 0.0)
        segments.append(dict(start=words[0]["start"], end=words[-1]["end"], text=" " + text, words=words))
    return dict(segments=segments)


def main():
    sys.path.insert(0, str(Path(sys.argv[1]) / "whisper"))
    from utils import WriteSRT, WriteVTT

    result = transcription()
    written = {}
    for name, options in OPTIONS.items():
        for kind, writer in (("srt", WriteSRT), ("vtt", WriteVTT)):
            file = io.StringIO()
            writer(".").write_result(result, file, options)
            written[f"{kind}, {name}"] = file.getvalue()
    target = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "subtitles.json"
    target.write_text(json.dumps(dict(transcription=result, written=written), indent=1) + "\n")


if __name__ == "__main__":
    main()
