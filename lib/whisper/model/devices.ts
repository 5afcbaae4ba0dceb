/** Devices by the names that `load` takes. */
import { Device } from '../../device/device.js';
import { OneheadError } from '../../errors.js';

const invalid = (received: unknown) =>
  new OneheadError(
    'INVALID_ARGUMENT',
    `Expected device to be 'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:all' or a list of such names but received ${JSON.stringify(received)}.`,
    { argument: 'device' },
  );

/** The names of single devices, in order. Throws OneheadError INVALID_ARGUMENT or DEVICE_UNAVAILABLE. */
export function deviceNames(wanted: string | readonly string[] = 'auto'): string[] {
  const names = typeof wanted === 'string' ? [wanted] : wanted;
  if (!Array.isArray(names) || names.length === 0 || names.some((name) => typeof name !== 'string')) {
    throw invalid(wanted);
  }
  return names.flatMap((name: string) => {
    if (name !== 'cuda:all') return [name];
    const count = Device.information().cuda.devices.length;
    // The device itself says best why there is none.
    return count === 0 ? ['cuda'] : Array.from({ length: count }, (_, index) => `cuda:${index}`);
  });
}

/** Opens them. The CPU's threads are divided among the CPU devices unless `threads` says how many each has. */
export function openDevices(names: readonly string[], threads?: number): Device[] {
  const cpus = names.filter((name) => name === 'cpu').length;
  const each = threads ?? (cpus > 1 ? Math.max(1, Math.floor(Device.information().threads / cpus)) : undefined);
  const devices: Device[] = [];
  try {
    for (const name of names) devices.push(new Device(name, { threads: each }));
    return devices;
  } catch (error) {
    for (const device of devices) device.close();
    throw error;
  }
}
