/** The tests that a list of cases makes: each case in each storage type on each device. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../lib/device/device.js';
import { caseDevices } from '../device/devices.js';
import { type Family, Make, type Operand, type OperationCase } from './case.js';
import { faults } from './check.js';

/** What a timed case may cost to be checked too, in operations and in elements. */
const affordable = { operations: 1.5e6, elements: 1e6 };

function isAffordable(one: OperationCase): boolean {
  const operands: Record<string, Operand | undefined> = one.operands(new Make('float32'));
  const elements = Object.values(operands).reduce((sum, operand) => sum + (operand?.size ?? 0), 0);
  return (one.operations ?? 0) <= affordable.operations && elements <= affordable.elements;
}

/** Declares the tests of a family. A CPU case runs on every instruction set that this machine has, on one, two and three threads. */
export function checkCases({ checked, timed }: Family): void {
  const real = timed(1).filter(isAffordable);
  describe.each(caseDevices)('$name', ({ kind, dtypes, open }) => {
    let devices: { name: string; device: Device }[];
    beforeAll(() => {
      devices = open();
    });
    afterAll(() => {
      for (const { device } of devices) device.close();
    });
    // Whisper's shapes are many numbers for an emulation.
    for (const one of kind === 'cuda-emulated' ? checked : [...checked, ...real]) {
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
