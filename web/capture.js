/** Runs on the sound card's thread: hands on what the microphone gives, a tenth of a second at a time. */
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
