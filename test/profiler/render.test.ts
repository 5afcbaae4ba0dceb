import { expect, it, vi } from 'vitest';

it('without Vega says what to install', async () => {
  vi.doMock('vega', () => {
    throw new Error("Cannot find package 'vega'");
  });
  const { ensureRenderer, toSvg } = await import('../../lib/profiler/report/render.js');
  const expected = expect.objectContaining({
    code: 'NOT_SUPPORTED',
    message: expect.stringMatching(/^Reports need Vega-Lite, .* `npm install vega vega-lite`, .*\.$/),
  });
  await expect(ensureRenderer()).rejects.toEqual(expected);
  await expect(toSvg({ name: 'a', title: 'A', caption: '', spec: {} })).rejects.toEqual(expected);
});
