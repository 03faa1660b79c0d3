//! Joins the modules in `src` to the one file that pages load and the server serves.
// Usage: node build.mjs [--pack]. With `--pack` the files of the npm package are laid beside it.
import { copyFile, readFile, writeFile } from 'node:fs/promises';

const HERE = new URL('.', import.meta.url);
const ROOT = new URL('../../', HERE);
const WEB = new URL('src/web/', ROOT);

// Each needs only those before it.
const MODULES = ['errors', 'timers', 'events', 'requests', 'token', 'order', 'channel', 'messages',
  'options', 'wake', 'stentor'];
const PUBLIC = ['Stentor', 'Stentor as Client', 'Stentor as default', 'StentorError', 'backoff',
  'isFinal'];

const HEAD = `//! The client library: one WebSocket to a Stentor server that comes back by itself.
// For browsers and Node (22 and up, or with {WebSocket}). stentor.d.ts says what each member does.
// This file is made from clients/js/src by clients/js/build.mjs; the comments are in its sources.
// It is one file, so that people can copy it and load it from where nothing else lies.
`;

/** The text of the one file. */
export async function bundle() {
  const parts = await Promise.all(MODULES.map(async (name) => {
    const source = await readFile(new URL(`src/${name}.js`, HERE), 'utf8');
    return source
      .replace(/^import [^;]+;\n/gm, '')
      .replace(/^export \{[^}]*\};\n/gm, '')
      .replace(/^export /gm, '')
      .replace(/^[ \t]*\/\/ .*\n|^[ \t]*\/\*\*[^]*?\*\/\n|(?<=[,;{]) \/\/ .*$/gm, '')
      .replace(/^\/\/! (.*)$/m, `// ---- ${name}: $1`)
      .replace(/\n{3,}/g, '\n\n')
      .trim();
  }));
  return `${HEAD}\n${parts.join('\n\n')}\n\nexport {\n  ${PUBLIC.join(', ')},\n};\n`;
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  await writeFile(new URL('stentor.js', WEB), await bundle());
  if (process.argv.includes('--pack')) {
    for (const name of ['stentor.js', 'stentor.d.ts']) {
      await copyFile(new URL(name, WEB), new URL(name, HERE));
    }
    for (const name of ['LICENSE-MIT', 'LICENSE-APACHE']) {
      await copyFile(new URL(name, ROOT), new URL(name, HERE));
    }
  }
}
