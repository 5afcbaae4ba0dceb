/** The devices and storage types with which the cases of all operations run. New devices are added here. */
import { existsSync } from 'node:fs';
import { Device } from '../../lib/device/device.js';

export interface TestDevice {
  name: string;
  /** The kind of the `Device`. */
  kind: string;
  open(): Device;
  dtypes: { dtype: 'float32' | 'float16' | 'bfloat16'; tolerance: number }[];
}

/** The emulation is compiled by test/global-setup.ts, except if the package's own addon is tested. */
const hasEmulation = existsSync(new URL('../../build/emulated/Release/onehead.node', import.meta.url));
/**
 * The instruction sets that this machine supports. The kernels for AMX are also tested without it, with emulated tiles,
 * which need bfloat16 products.
 */
const instructionSets: string[] = Device.information().cpu.available;
if (hasEmulation && instructionSets.includes('avx512-bf16')) instructionSets.push('amx-emulated');

const cpus: TestDevice[] = instructionSets.map((kernels) => ({
  name: `cpu (${kernels})`,
  kind: 'cpu',
  open: () => new Device('cpu', { kernels, threads: 2 }),
  dtypes: [
    { dtype: 'float32', tolerance: 1e-5 },
    { dtype: 'bfloat16', tolerance: 1e-2 },
  ],
}));

/**
 * With and without cuBLASLt; without it, our own kernel computes large products. If the GPU is emulated, the second one
 * also has compute capability 8.0, without clusters of blocks.
 */
function cudas(kind: string): TestDevice[] {
  const old = kind === 'cuda-emulated';
  return [true, false].map((cublasLt) => ({
    name: `${kind}${cublasLt ? '' : ` without cuBLASLt${old ? ', 8.0' : ''}`}`,
    kind,
    open() {
      if (old && !cublasLt) process.env.ONEHEAD_EMULATED_OLD = '1';
      try {
        return new Device(kind, { cublasLt });
      } finally {
        delete process.env.ONEHEAD_EMULATED_OLD;
      }
    },
    dtypes: [
      { dtype: 'float32', tolerance: 1e-5 },
      { dtype: 'float16', tolerance: 1e-2 },
      { dtype: 'bfloat16', tolerance: 1e-2 },
    ],
  }));
}

/** `npm run test:gpu` requires the real device and fails without one; all other runs use its emulation. */
export const gpu = process.env.ONEHEAD_TEST_GPU === '1';
export const cudaKind = gpu ? 'cuda' : 'cuda-emulated';
export const hasCuda = gpu || hasEmulation;
export const devices: TestDevice[] = gpu ? cudas('cuda') : [...cpus, ...(hasCuda ? cudas('cuda-emulated') : [])];

export interface CaseDevice extends Omit<TestDevice, 'open'> {
  /** All devices with which cases run. */
  open(): { name: string; device: Device }[];
}

/**
 * The devices of test/cases: the CPU with every instruction set and one, two and three threads, and the GPUs of
 * `devices`.
 */
export const caseDevices: CaseDevice[] = [
  ...(gpu ? [] : [{ ...cpus[0], name: 'cpu', open: everyCpu }]),
  ...devices
    .filter(({ kind }) => kind !== 'cpu')
    .map((one) => ({ ...one, open: () => [{ name: one.name, device: one.open() }] })),
];

function everyCpu() {
  const threads = [1, 2, 3];
  return instructionSets.flatMap((kernels) =>
    threads.map((threads) => ({
      name: `${kernels}, threads ${threads}`,
      device: new Device('cpu', { kernels, threads }),
    })),
  );
}

/**
 * The devices with which whole models are tested. The emulation takes seconds for a token, so it gets only some
 * recordings.
 */
export const modelDevices: { device: string; dtype: 'float32' | 'float16' | 'bfloat16'; most: number }[] = [
  ...(gpu ? [] : (['float32', 'bfloat16'] as const).map((dtype) => ({ device: 'cpu', dtype, most: 99 }))),
  ...(['float32', 'float16', 'bfloat16'] as const)
    .filter(() => hasCuda)
    .map((dtype) => ({ device: cudaKind, dtype, most: gpu ? 99 : 1 })),
];
/** The devices of tests that need one of each kind. */
export const kinds: string[] = gpu ? [cudaKind] : ['cpu', ...(hasCuda ? [cudaKind] : [])];
