/** The page in headless Chromium, with a recording as microphone. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { RunningServer } from '../../lib/server/index.js';
import { samplesOf, wavOf } from '../audio/support.js';
import * as inPage from './in-page.mjs';
import { root, sample, sampleText, startServer, testServer } from './support.js';

const executablePath = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser'].find(
  (path) => path !== undefined && existsSync(path),
);

describe.skipIf(executablePath === undefined)('the page', () => {
  const folder = mkdtempSync(join(tmpdir(), 'onehead-page-'));
  let server: RunningServer;
  let browser: Browser;

  beforeAll(async () => {
    // The input of the microphone.
    writeFileSync(join(folder, 'spoken.wav'), wavOf(await samplesOf('00_seen.flac')));
    server = await startServer();
    browser = await chromium.launch({
      executablePath,
      args: [
        '--no-sandbox',
        '--use-fake-ui-for-media-stream',
        '--use-fake-device-for-media-stream',
        `--use-file-for-fake-audio-capture=${join(folder, 'spoken.wav')}%noloop`,
        '--autoplay-policy=no-user-gesture-required',
      ],
    });
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    await server?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /**
   * Opens a page in a new context. Errors in it, and requests to other servers, fail the test.
   */
  async function open(url = `${server.url}/`, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext({ permissions: ['microphone'], ...options });
    const page = await context.newPage();
    const problems: string[] = [];
    page.on('pageerror', ({ message }) => problems.push(message));
    page.on('request', (request) => {
      if (!new URL(request.url()).href.startsWith(new URL(url).origin) && !request.url().startsWith('blob:')) {
        problems.push(`request to ${request.url()}`);
      }
    });
    onTestFinished(async () => {
      await context.close();
      expect(problems).toEqual([]);
    });
    await page.goto(url);
    return page;
  }
  const done = (page: Page) => page.waitForSelector('.result .downloads:not([hidden])', { timeout: 60_000 });
  const text = (page: Page, selector: string) => page.locator(selector).first().innerText();

  it('transcribes a recording, and provides subtitles', async () => {
    const page = await open();
    await page.setInputFiles('#files', sample);
    await done(page);
    expect((await text(page, '.text')).replace(/\s+/g, ' ').trim()).toBe(sampleText);
    expect(await text(page, '.state')).toMatch(/^English, 0:07, done in/);
    const download = async (format: string) => {
      const [file] = await Promise.all([page.waitForEvent('download'), page.click(`[data-format="${format}"]`)]);
      expect(file.suggestedFilename()).toBe(`sample.${format}`);
      return readFileSync(await file.path(), 'utf8');
    };
    expect(await download('srt')).toMatch(
      /^1\n00:00:00,\d{3} --> 00:00:0\d,\d{3}\nWe will return on Thursday\.\n\n2\n/,
    );
    expect(await download('vtt')).toMatch(/^WEBVTT\n\n00:00\.\d{3} --> /);
    expect(await download('txt')).toBe(`${sampleText.replaceAll('. ', '.\n')}\n`);
    expect(JSON.parse(await download('json')).words[0].word).toBe('We');
  });

  it('highlights words during playback, and plays from a word', async () => {
    const page = await open();
    await page.setInputFiles('#files', sample);
    await done(page);
    const words = page.locator('.word');
    expect(await words.count()).toBe(sampleText.split(' ').length);
    const word = words.filter({ hasText: 'chicken' });
    await word.click();
    await expect.poll(() => page.locator('.word.playing').count(), { timeout: 10_000 }).toBe(1);
    const lit = await text(page, '.word.playing');
    expect(sampleText.slice(sampleText.indexOf('chicken'))).toContain(lit);
    expect(await page.evaluate(inPage.playedTo)).toBeGreaterThan(1);
  });

  it('moves between words and plays them by keyboard', async () => {
    const page = await open();
    await page.setInputFiles('#files', sample);
    await done(page);
    const words = page.locator('.word');
    const many = await words.count();
    // The words are a single tab stop; arrow keys move between them.
    expect(await page.locator('.word[tabindex="0"]').count()).toBe(1);
    await words.first().focus();
    const at = () => page.evaluate(inPage.focusedName);
    expect(await at()).toBe('We, play from 0:00');
    for (const key of ['ArrowRight', 'ArrowRight', 'ArrowLeft']) await page.keyboard.press(key);
    expect(await at()).toMatch(/^will, play from 0:0\d$/);
    await page.keyboard.press('End');
    expect(await at()).toMatch(/^meters\., play from 0:0\d$/);
    await page.keyboard.press('ArrowDown');
    expect(await at()).toMatch(/^meters\./);
    await page.keyboard.press('Enter');
    await expect.poll(() => page.evaluate(inPage.playedTo)).toBeGreaterThan(4);
    await page.keyboard.press('Home');
    await page.keyboard.press('Tab');
    expect(await at()).toBe('Copy text');
    await page.keyboard.press('Shift+Tab');
    expect(await at()).toBe('We, play from 0:00');
    // For screen readers, words are named buttons in a group that explains its keys.
    expect(await page.getByRole('button', { name: /play from/ }).count()).toBe(many);
    expect(await page.getByRole('group', { name: /arrow keys/ }).count()).toBe(1);
  });

  it('shows an error, and continues with other recordings', async () => {
    const page = await open();
    await page.setInputFiles('#files', [join(root, 'package.json'), sample]);
    await done(page);
    const bad = page.locator('.result', { hasText: 'package.json' });
    expect(await bad.locator('.state').innerText()).toMatch(/does not look like audio/);
    expect(await bad.locator('[data-action="retry"]').isVisible()).toBe(true);
    await bad.locator('[data-action="remove"]').click();
    expect(await page.locator('.result').count()).toBe(1);
  });

  it('accepts files that are dropped anywhere', async () => {
    const page = await open();
    const bytes = readFileSync(sample).toString('base64');
    const transfer = await page.evaluateHandle(inPage.droppedFile, bytes);
    await page.dispatchEvent('footer', 'drop', { dataTransfer: transfer });
    await done(page);
    expect(await text(page, 'h3')).toBe('dropped.flac');
  });

  it('can be used by keyboard only', async () => {
    const page = await open();
    const focused = () => page.evaluate(inPage.focused);
    const order: (string | undefined)[] = [];
    for (let i = 0; i < 6; ++i) {
      await page.keyboard.press('Tab');
      order.push(await focused());
    }
    expect(order).toEqual(['files', 'speak', 'model', 'language', 'task', 'A']);
    await page.focus('#files');
    const chooser = page.waitForEvent('filechooser');
    await page.waitForTimeout(200); // until the file chooser is intercepted
    await page.keyboard.press('Enter');
    await (await chooser).setFiles(sample);
    await done(page);
    await page.focus('[data-action="remove"]');
    await page.keyboard.press('Enter');
    // After the last recording is removed, the file input is focused.
    expect(await focused()).toBe('files');
    // The focus stays where the same key ends what it began.
    await page.focus('#speak');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#live:not([hidden])');
    expect(await focused()).toBe('speak');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#live', { state: 'hidden' });
    expect(await focused()).toBe('speak');
  });

  it('names all controls for screen readers', async () => {
    const page = await open();
    await page.setInputFiles('#files', sample);
    await done(page);
    const nameless = await page.evaluate(inPage.nameless);
    expect(nameless).toEqual([]);
    expect(await page.getByRole('status').count()).toBeGreaterThan(0);
  });

  it.each(['light', 'dark'] as const)('is legible in %s', async (colorScheme) => {
    const page = await open(undefined, { colorScheme });
    const contrasts = await page.evaluate(inPage.contrasts);
    expect(contrasts.length).toBeGreaterThan(5);
    // WCAG AA for text.
    for (const contrast of contrasts) expect(contrast).toBeGreaterThan(4.5);
  });

  it('fits the width of a phone', async () => {
    const page = await open(undefined, { viewport: { width: 360, height: 740 } });
    await page.setInputFiles('#files', sample);
    await done(page);
    expect(await page.evaluate(inPage.pageWidth)).toBeLessThanOrEqual(360);
  });

  it('transcribes the microphone live, and keeps the recording', async () => {
    const page = await open();
    await page.click('#speak');
    await page.waitForSelector('#live:not([hidden])');
    await page.waitForTimeout(4500);
    // The live text comes over the realtime socket.
    await expect.poll(() => text(page, '#live-text'), { timeout: 20_000 }).toMatch(/book two days ago/);
    expect(await page.locator('#notice').isVisible()).toBe(false);
    await page.click('#speak');
    await done(page);
    expect(await text(page, 'h3')).toMatch(/^Microphone .*\.wav$/);
    // Opening the microphone takes some tenths of a second, so the first words may be missing.
    expect(await text(page, '.text')).toMatch(/the book two days ago\./);
  });

  it('requests a key if the server requires one', async () => {
    const keys = join(folder, 'keys');
    writeFileSync(keys, 'sk-right name=test\n');
    const guarded = await testServer({ keys });
    const page = await open(`${guarded.url}/`);
    await page.waitForSelector('#key-field:not([hidden])');
    await page.fill('#key', 'sk-right');
    await page.keyboard.press('Tab');
    await expect.poll(() => page.locator('#model option').count()).toBe(1);
    await page.setInputFiles('#files', sample);
    await done(page);
  });

  it('works under a prefix, and can be disabled', async () => {
    const { default: fastify } = await import('fastify');
    const { onehead } = await import('../../lib/server/index.js');
    const app = fastify();
    onTestFinished(() => app.close());
    await app.register(onehead, { models: [join(root, 'models/micro')], prefix: '/speech', preload: false });
    await app.listen({ port: 0 });
    const { port } = app.server.address() as { port: number };
    const page = await open(`http://127.0.0.1:${port}/speech`);
    expect(page.url()).toBe(`http://127.0.0.1:${port}/speech/`);
    await expect.poll(() => page.locator('#model option').count()).toBe(1);
    await page.setInputFiles('#files', sample);
    await done(page);

    const without = await testServer({ page: false });
    expect((await fetch(`${without.url}/`)).status).toBe(404);
  });
});
