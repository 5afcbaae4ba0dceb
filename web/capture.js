/** Runs on the browser's audio thread: sends the microphone's samples to the page in chunks of 0.1 s. */
class Capture extends AudioWorkletProcessor {
  #samples = new Float32Array(Math.round(sampleRate / 10));
  #count = 0;

  process([input]) {
    for (const sample of input[0] ?? []) {
      this.#samples[this.#count++] = sample;
      if (this.#count < this.#samples.length) continue;
      this.port.postMessage(this.#samples);
      this.#samples = new Float32Array(this.#samples.length);
      this.#count = 0;
    }
    return true;
  }
}

registerProcessor('capture', Capture);
