/** GET /: the web page. It consists of JavaScript modules in the package's `web` folder, and calls the public API. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyInstance, FastifyReply, FastifySchema } from 'fastify';
import { packageRoot } from '../../package-root.js';
import { languageNames } from '../../whisper/checkpoint/languages.js';
import type { Service } from '../service/service.js';

const mediaTypes = { html: 'text/html', css: 'text/css', js: 'text/javascript', svg: 'image/svg+xml' } as const;

/** The files of the page, besides its HTML and the list of languages. */
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

/** Compiled modules of lib/formats that write subtitles; they import only each other. */
const formatModules = ['columns.js', 'cues.js', 'subtitles.js', 'time.js'];

/** The content security policy forbids other origins and inline scripts, so no text of a transcript is executed. */
const contentSecurityPolicy = [
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
  const formats = join(packageRoot(), 'dist', 'formats');
  for (const name of formatModules) contents.set(`formats/${name}`, readFileSync(join(formats, name)));
  const index = readFileSync(join(folder, 'index.html'));

  const send = (reply: FastifyReply, name: string, content: Buffer) =>
    reply
      .header('content-security-policy', contentSecurityPolicy)
      .header('x-content-type-options', 'nosniff')
      .header('referrer-policy', 'no-referrer')
      .header('cache-control', 'no-cache')
      .type(`${mediaTypes[name.split('.').at(-1) as keyof typeof mediaTypes]}; charset=utf-8`)
      .send(content);

  // The page's links are relative, so it works under any prefix; but they resolve correctly only after a final slash.
  app.get('/', { schema: hidden, prefixTrailingSlash: 'slash' }, (_, reply) => send(reply, 'index.html', index));
  if (app.prefix !== '' && app.prefix !== '/') {
    app.get('', { schema: hidden, prefixTrailingSlash: 'no-slash' }, (_, reply) => reply.redirect(`${app.prefix}/`));
  }
  for (const [name, content] of contents) {
    app.get(`/page/${name}`, { schema: hidden }, (_, reply) => send(reply, name, content));
  }
}
