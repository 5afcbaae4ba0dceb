'use strict';
// The README as npm's page shows it.

/** Where links of the package's pages lead: the repository that package.json names, else the package's own files as unpkg.com shows them. */
function baseOf({ name, version, repository }) {
  if (!repository) return `https://unpkg.com/${name}@${version}/`;
  const url = (repository.url ?? repository).replace(/^git\+|\.git$/g, '').replace(/^github:/, 'https://github.com/');
  return `${url}/blob/v${version}/`;
}

/** Markdown with absolute links. Pictures come from the package, since a repository's pages are no pictures. */
function withAbsoluteLinks(markdown, manifest) {
  const packed = baseOf({ ...manifest, repository: undefined });
  return markdown.replace(/(!?\[[^\]]*\])\((?![a-z]+:|#)([^)\s]+)\)/g, (_, text, target) => {
    const file = target.replace(/^\.\//, '');
    return `${text}(${text.startsWith('!') ? packed : baseOf(manifest)}${file})`;
  });
}

module.exports = { withAbsoluteLinks };
