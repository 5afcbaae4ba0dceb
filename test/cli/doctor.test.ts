import { cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { haveBfloat16Products } from '../../lib/device/device.js';
import { onehead, root, temporaryFolder } from './command.js';

interface Finding {
  subject: string;
  found: string;
  means: string;
  todo: string;
}

const find = (json: string, subject: string): Finding | undefined =>
  (JSON.parse(json).findings as Finding[]).find((one) => one.subject === subject);

/** The package without an addon, or with the contents `addon` in its place. */
async function packageWithout(addon?: string): Promise<string> {
  const folder = await temporaryFolder();
  await cp(join(root, 'dist'), join(folder, 'dist'), { recursive: true });
  await cp(join(root, 'package.json'), join(folder, 'package.json'));
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'), 'dir');
  if (addon !== undefined) {
    await mkdir(join(folder, 'build/Release'), { recursive: true });
    await writeFile(join(folder, 'build/Release/onehead.node'), addon);
  }
  return folder;
}

describe('onehead doctor', () => {
  it('reports what was found and what that means', async () => {
    const { status, stdout, stderr } = await onehead(['doctor']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    for (const subject of [
      'Node.js',
      'addon',
      'CPU',
      'types',
      'oneDNN',
      'NVIDIA driver',
      'GPU',
      'cuBLASLt',
      'm4a, aac',
      'ffmpeg',
    ]) {
      expect(stdout).toMatch(new RegExp(`^${subject.replace('.', '\\.')} +\\S.*\\n {15}\\S`, 'm'));
    }
  });

  it('--json prints the findings and the addon’s information', async () => {
    const { status, stdout } = await onehead(['doctor', '--json']);
    expect(status).toBe(0);
    const { information } = JSON.parse(stdout);
    expect(information.cpu.available).toContain(information.cpu.kernels);
    expect(information.threads).toBeGreaterThanOrEqual(1);
    expect(find(stdout, 'addon')?.found).toMatch(/onehead.*\.node$/);
    const kernels = information.cuda.compiled ? 'CPU and CUDA kernels' : 'CPU kernels only';
    expect(find(stdout, 'addon')?.means).toContain(kernels);
    expect(find(stdout, 'Node.js')).toMatchObject({ found: process.version, todo: '' });
  });

  it.each([
    ['onednn', 'by oneDNN'],
    ['integers', 'in 16-bit integers'],
  ])('says which products ONEHEAD_CPU_PRODUCTS=%s chooses', async (products, means) => {
    const env = { ONEHEAD_CPU_PRODUCTS: products, XDG_CACHE_HOME: await temporaryFolder() };
    const { status, stdout } = await onehead(['doctor', '--json'], { env });
    expect(status).toBe(0);
    const { information, types } = JSON.parse(stdout);
    const hasBoth = haveBfloat16Products(information.cpu.kernels);
    expect(types.encoder.integers === undefined).toBe(!hasBoth);
    const sentence = `Products of many rows in bfloat16 are computed ${means}, as ONEHEAD_CPU_PRODUCTS demands.`;
    expect(find(stdout, 'types')?.means.includes(sentence)).toBe(hasBoth);
    expect(find(stdout, 'types')?.found.includes('with 16-bit integers')).toBe(hasBoth);
  });

  it('reports missing ffmpeg', async () => {
    const { status, stdout } = await onehead(['doctor', '--json'], { env: { PATH: await temporaryFolder() } });
    expect(status).toBe(0);
    expect(find(stdout, 'ffmpeg')).toMatchObject({ found: 'not found', todo: expect.stringContaining('install') });
  });

  it('works without an addon, explains how to get it, and fails', async () => {
    const { status, stdout, stderr } = await onehead(['doctor', '--json'], { root: await packageWithout() });
    expect({ status, stderr }).toEqual({ status: 1, stderr: '' });
    expect(JSON.parse(stdout).information).toBeNull();
    const todo = expect.stringMatching(/npm install @onehead\/|has no packed addon/);
    expect(find(stdout, 'addon')).toMatchObject({ found: 'none', todo });
    expect(find(stdout, 'ffmpeg')).toBeDefined();
  });

  it('explains in a clone how the addon is built', async () => {
    const folder = await packageWithout();
    await writeFile(join(folder, 'CMakeLists.txt'), '');
    const { status, stdout } = await onehead(['doctor', '--json'], { root: folder });
    expect(status).toBe(1);
    expect(find(stdout, 'addon')).toMatchObject({ found: 'none', todo: expect.stringContaining('build:native') });
  });

  it('works with a broken addon, and names its file', async () => {
    const folder = await packageWithout('this is no library');
    const { status, stdout, stderr } = await onehead(['doctor'], { root: folder });
    expect({ status, stderr }).toEqual({ status: 1, stderr: '' });
    expect(stdout).toContain(join(folder, 'build/Release/onehead.node'));
    expect(stdout).toMatch(/To do: .*rebuild/);
  });
});
