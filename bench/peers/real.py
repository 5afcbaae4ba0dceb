"""A process of `npm run bench -- real`: transcribes the recordings of a job with a peer. It uses greedy search, no text
of previous windows, and the peer's own temperature fallback. Prints lines of JSON, like bench/measure-real.mjs.

    python real.py PEER JOB        PEER: faster-whisper, faster-whisper-batched, openai, transformers
    JOB: {model, compute, threads, recordings: [{name, file, language, words}]}
"""

import json
import sys
import time
import wave

import numpy as np


def samples(path):
    with wave.open(path) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768


def segment(start, end, seek, temperature, log_probability, no_speech, words):
    times = [] if words is None else [{"word": word, "start": float(begin), "end": float(till)} for word, begin, till in words]
    return {"start": start, "end": end, "seek": seek, "temperature": temperature, "avg_logprob": log_probability, "no_speech_prob": no_speech, "words": times}


def faster_whisper(job, batched):
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(job["model"], device="cpu", compute_type=job["compute"], cpu_threads=job["threads"])
    settings = {"beam_size": 1}
    if batched:
        model = BatchedInferencePipeline(model)
        settings["batch_size"] = 8
    else:
        settings["condition_on_previous_text"] = False

    def run(audio, language, words):
        segments, info = model.transcribe(audio, language=language, word_timestamps=words, **settings)
        found = [
            segment(s.start, s.end, s.seek, s.temperature, s.avg_logprob, s.no_speech_prob, s.words and [(w.word, w.start, w.end) for w in s.words])
            | {"text": s.text}
            for s in segments
        ]
        return "".join(s.pop("text") for s in found), info.language, found

    return run


def openai(job):
    import torch
    import whisper

    torch.set_num_threads(job["threads"])
    model = whisper.load_model(job["model"], device="cpu")

    def run(audio, language, words):
        result = model.transcribe(audio, language=language, word_timestamps=words, condition_on_previous_text=False, fp16=False)
        found = [
            segment(
                s["start"], s["end"], s["seek"], s["temperature"], s["avg_logprob"], s["no_speech_prob"],
                [(w["word"], w["start"], w["end"]) for w in s["words"]] if words else None)
            for s in result["segments"]
        ]
        return result["text"], result["language"], found

    return run


def transformers(job):
    import torch
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizerFast

    torch.set_num_threads(job["threads"])
    tokenizer = WhisperTokenizerFast.from_pretrained(job["model"])
    extractor = WhisperFeatureExtractor.from_pretrained(job["model"])
    model = WhisperForConditionalGeneration.from_pretrained(job["model"], dtype=getattr(torch, job["compute"])).eval()

    @torch.inference_mode()
    def run(audio, language, words):
        long = len(audio) > 30 * 16000
        padding = {"truncation": False, "padding": "longest"} if long else {}
        features = extractor(audio, sampling_rate=16000, return_tensors="pt", return_attention_mask=True, **padding)
        inputs = features.input_features.to(model.dtype)
        if language is None:
            detected = model.detect_language(input_features=inputs[:, :, :3000])[0]
            language = tokenizer.decode(detected)[2:-2]
        # It only uses fallback and detects silence in long recordings. The values are those of openai/whisper.
        rules = {"temperature": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), "logprob_threshold": -1.0, "compression_ratio_threshold": 2.4, "no_speech_threshold": 0.6}
        more = {"attention_mask": features.attention_mask, "condition_on_prev_tokens": False, **rules} if long else {}
        tokens = model.generate(inputs, language=language, task="transcribe", return_timestamps=True, **more)
        return tokenizer.decode(tokens[0], skip_special_tokens=True), language, []

    return run


def memory():
    with open("/proc/self/status") as status:
        return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])


def main():
    peer, path = sys.argv[1:]
    with open(path) as file:
        job = json.load(file)
    write = lambda line: print(json.dumps(line), flush=True)
    start = time.perf_counter()
    if peer == "openai":
        run = openai(job)
    elif peer == "transformers":
        run = transformers(job)
    else:
        run = faster_whisper(job, peer == "faster-whisper-batched")
    write({"load": time.perf_counter() - start})
    recordings = [one for one in job["recordings"] if not one["words"] or peer != "transformers"]
    run(samples(recordings[0]["file"]), recordings[0]["language"], False)  # warm-up
    for one in recordings:
        start, before = time.perf_counter(), time.process_time()
        text, language, segments = run(samples(one["file"]), one["language"], one["words"])
        seconds, cpu = time.perf_counter() - start, time.process_time() - before
        write({"name": one["name"], "words": one["words"], "seconds": seconds, "cpuSeconds": cpu, "text": text, "language": language, "segments": segments})
    write({"memory": memory()})


if __name__ == "__main__":
    main()
