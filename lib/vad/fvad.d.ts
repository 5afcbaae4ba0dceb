declare module '@echogarden/fvad-wasm' {
  interface Fvad {
    HEAP16: Int16Array;
    _malloc(bytes: number): number;
    _free(pointer: number): void;
    _fvad_new(): number;
    _fvad_free(handle: number): void;
    _fvad_set_mode(handle: number, mode: number): number;
    _fvad_set_sample_rate(handle: number, hertz: number): number;
    /** 1 for speech, 0 for non-speech, -1 for a frame of invalid length. */
    _fvad_process(handle: number, samples: number, count: number): number;
  }
  export default function fvad(): Promise<Fvad>;
}
