/** The devices and storage types that every operation's cases run on. A new device joins here and nowhere else. */
import { Device } from '../../lib/device/device.js';

export interface TestDevice {
  name: string;
  /** As `Device` and lib/attention know it. */
  kind: string;
  open(): Device;
  dtypes: { dtype: 'float32' | 'bfloat16'; tolerance: number }[];
}

export const devices: TestDevice[] = Device.information().cpu.available.map((kernels) => ({
  name: `cpu (${kernels})`,
  kind: 'cpu',
  open: () => new Device('cpu', { kernels, threads: 2 }),
  dtypes: [
    { dtype: 'float32', tolerance: 1e-5 },
    { dtype: 'bfloat16', tolerance: 1e-2 },
  ],
}));
