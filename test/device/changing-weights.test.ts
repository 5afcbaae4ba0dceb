/** Weights that are written between two runs: a device stores only constant weights in its own layout. */
import { expect, it } from 'vitest';
import { devices } from './devices.js';
import { random } from './reference.js';

it.each(devices)('changed weights are used by the next run on $name', async ({ open }) => {
  using device = open();
  const [length, channels, outputs, kernel] = [4, 2, 3, 1];
  const x = device.tensor('float32', [1, length, channels], random(length * channels, 1));
  const rows = device.tensor('float32', [40, channels], random(40 * channels, 2));
  const [convolved, multiplied] = [
    device.tensor('float32', [outputs, channels, kernel]),
    device.tensor('float32', [outputs, channels]),
  ];
  const [first, second] = [device.tensor('float32', [1, length, outputs]), device.tensor('float32', [40, outputs])];
  using program = device.record('changing', (ops) => {
    ops.convolution(x, convolved, { output: first });
    ops.linear(rows, multiplied, { output: second });
  });
  for (const seed of [3, 4]) {
    const weight = random(outputs * channels, seed);
    await convolved.write(weight);
    await multiplied.write(weight);
    await program.run();
    for (const [given, output] of [
      [x, first],
      [rows, second],
    ]) {
      const values = await given.toFloat32Array();
      const expected = Array.from({ length: (values.length / channels) * outputs }, (_, i) => {
        const at = Math.floor(i / outputs) * channels;
        const column = (i % outputs) * channels;
        return expect.closeTo(values[at] * weight[column] + values[at + 1] * weight[column + 1], 5);
      });
      expect(Array.from(await output.toFloat32Array())).toEqual(expected);
    }
  }
});
