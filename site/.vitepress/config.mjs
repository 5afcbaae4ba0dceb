import { readFileSync } from 'node:fs';

const root = new URL('../../', import.meta.url);
const read = (name) => readFileSync(new URL(name, root), 'utf8');
const { description, repository } = JSON.parse(read('package.json'));

/** The title of a page: its first heading; of a folder, its path. */
const titleOf = (path) => (path.endsWith('.md') ? (/^# (.+)$/m.exec(read(path))?.[1] ?? path) : path);

/** The lists of docs/index.md; each is a group of links. */
const sidebar = [...read('docs/index.md').matchAll(/^\*\*(.+)\*\*\n\n((?:- .*\n?)+)/gm)].map(([, text, items]) => ({
  text,
  items: [...items.matchAll(/^- \[[^\]]+\]\(([^)]+)\)/gm)].map(([, target]) => {
    const page = target
      .replace(/^\.\.\//, '')
      .replace(/\.md$/, '')
      .toLowerCase();
    return { text: titleOf(target.startsWith('../') ? target.slice(3) : `docs/${target}`), link: `/${page}` };
  }),
}));

export default {
  title: 'onehead',
  description,
  base: process.env.SITE_BASE ?? '/',
  srcDir: 'content',
  srcExclude: ['public/**'],
  cleanUrls: false,
  // TypeDoc generates the API reference separately.
  ignoreDeadLinks: [/^\/api\//, /^\/files\//],
  markdown: { theme: { light: 'github-light-high-contrast', dark: 'github-dark' } },
  themeConfig: {
    nav: [
      { text: 'First steps', link: '/readme' },
      { text: 'Documentation', link: '/contents' },
      { text: 'API', link: '/api/index.html', target: '_self' },
    ],
    sidebar,
    outline: [2, 3],
    search: { provider: 'local' },
    ...(repository && { socialLinks: [{ icon: 'github', link: repository.url ?? repository }] }),
  },
};
