'use strict';
// The README for npm's page.

/** The base of links: the repository in package.json, or the package's files on unpkg.com if there is none. */
function baseOf({ name, version, repository }) {
  if (!repository) return `https://unpkg.com/${name}@${version}/`;
  const url = (repository.url ?? repository).replace(/^git\+|\.git$/g, '').replace(/^github:/, 'https://github.com/');
  return `${url}/blob/v${version}/`;
}

/** Makes the links in Markdown absolute. Pictures refer to the package, since a repository's URLs are HTML pages. */
function withAbsoluteLinks(markdown, manifest) {
  const packed = baseOf({ ...manifest, repository: undefined });
  return markdown.replace(/(!?\[[^\]]*\])\((?![a-z]+:|#)([^)\s]+)\)/g, (_, text, target) => {
    const file = target.replace(/^\.\//, '');
    return `${text}(${text.startsWith('!') ? packed : baseOf(manifest)}${file})`;
  });
}

module.exports = { withAbsoluteLinks };
