/** Declares the tests of a list of cases: each case, in each storage type, on each device. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../lib/device/device.js';
import { caseDevices } from '../device/devices.js';
import type { Family } from './case.js';
import { checkedCases, faults } from './check.js';

/**
 * Declares the tests of a family. On a CPU, each case runs with every instruction set that this machine supports, with
 * one, two and three threads.
 */
export function checkCases(family: Family): void {
  describe.each(caseDevices)('$name', ({ kind, dtypes, open }) => {
    let devices: { name: string; device: Device }[];
    beforeAll(() => {
      devices = open();
    });
    afterAll(() => {
      for (const { device } of devices) device.close();
    });
    // Whisper's shapes take long under emulation.
    for (const one of kind === 'cuda-emulated' ? family.checked : checkedCases(family)) {
      for (const { dtype } of dtypes) {
        if (one.dtypes && !one.dtypes.includes(dtype)) continue;
        if (one.supports && !one.supports({ device: kind, dtype })) continue;
        it(`${one.operation}: ${one.name}, ${dtype}`, async () => {
          const found: string[] = [];
          for (const { name, device } of devices) {
            for (const fault of await faults(device, one, dtype)) found.push(`${name}: ${fault}`);
          }
          expect(found).toEqual([]);
        });
      }
    }
  });
}
