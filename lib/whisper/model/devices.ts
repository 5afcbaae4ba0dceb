/** Opens the devices that the option `device` names. */
import { refuse } from '../../checks.js';
import { Device } from '../../device/device.js';

const expected = "'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:all' or a list of such names";

/**
 * Returns the names of single devices, in order: 'cuda:all' becomes one name for each GPU. Throws OneheadError
 * INVALID_ARGUMENT or ADDON_UNAVAILABLE.
 */
export function deviceNames(requested: string | readonly string[] = 'auto'): string[] {
  const names = typeof requested === 'string' ? [requested] : requested;
  if (!Array.isArray(names) || names.length === 0 || names.some((name) => typeof name !== 'string')) {
    refuse('device', expected, requested);
  }
  return names.flatMap((name: string) => {
    if (name !== 'cuda:all') return [name];
    const count = Device.information().cuda.devices.length;
    // If there is no GPU, opening 'cuda' throws an error with the reason.
    return count === 0 ? ['cuda'] : Array.from({ length: count }, (_, index) => `cuda:${index}`);
  });
}

/**
 * Opens devices. `threads` is the number of CPU threads of each device; by default the CPU devices share the available
 * cores. If one cannot be opened, the others are closed. Throws OneheadError DEVICE_UNAVAILABLE.
 */
export function openDevices(names: readonly string[], threads?: number): Device[] {
  const cpus = names.filter((name) => name === 'cpu').length;
  const perDevice = threads ?? (cpus > 1 ? Math.max(1, Math.floor(Device.information().threads / cpus)) : undefined);
  const devices: Device[] = [];
  try {
    for (const name of names) devices.push(new Device(name, { threads: perDevice }));
    return devices;
  } catch (error) {
    for (const device of devices) device.close();
    throw error;
  }
}
