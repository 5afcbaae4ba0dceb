/**
 * GET /: a page for people. Plain modules from the package's `web` folder; what it does goes through the API, with the
 * same keys.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyInstance, FastifyReply, FastifySchema } from 'fastify';
import { packageRoot } from '../../package-root.js';
import { languageNames } from '../../whisper/checkpoint/languages.js';
import type { Service } from '../service/service.js';

const types = { html: 'text/html', css: 'text/css', js: 'text/javascript', svg: 'image/svg+xml' } as const;

/** The files of the page, besides itself and the list of languages. */
const files = [
  'api.js',
  'capture.js',
  'icon.svg',
  'main.js',
  'microphone.js',
  'results.js',
  'style.css',
  'subtitles.js',
  'words.js',
];

/** Nothing from elsewhere, and nothing in line: what a transcript says is never run. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "media-src 'self' blob:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const hidden = { hide: true } as FastifySchema;

/** A module with the languages, sorted by English name. */
function languagesModule(): string {
  const sorted = [...languageNames].sort(([, a], [, b]) => a.localeCompare(b));
  const entries = sorted.map(([code, name]) => [code, name[0].toUpperCase() + name.slice(1)]);
  return `export const languages = ${JSON.stringify(entries)};\n`;
}

export async function pageRoutes(app: FastifyInstance, { options }: Service): Promise<void> {
  if (!options.page) return;
  const folder = join(packageRoot(), 'web');
  const contents = new Map(files.map((name) => [name, readFileSync(join(folder, name))]));
  contents.set('languages.js', Buffer.from(languagesModule()));
  const index = readFileSync(join(folder, 'index.html'));

  const send = (reply: FastifyReply, name: string, content: Buffer) =>
    reply
      .header('content-security-policy', policy)
      .header('x-content-type-options', 'nosniff')
      .header('referrer-policy', 'no-referrer')
      .header('cache-control', 'no-cache')
      .type(`${types[name.split('.').at(-1) as keyof typeof types]}; charset=utf-8`)
      .send(content);

  // Its addresses are relative, so that it may lie under any prefix; without the slash they would lead elsewhere.
  app.get('/', { schema: hidden, prefixTrailingSlash: 'slash' }, (_, reply) => send(reply, 'index.html', index));
  if (app.prefix !== '' && app.prefix !== '/') {
    app.get('', { schema: hidden, prefixTrailingSlash: 'no-slash' }, (_, reply) => reply.redirect(`${app.prefix}/`));
  }
  for (const [name, content] of contents) {
    app.get(`/page/${name}`, { schema: hidden }, (_, reply) => send(reply, name, content));
  }
}
