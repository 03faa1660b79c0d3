//! Joins the modules in `src` to the one file that pages load and the server serves.
// Usage: node build.mjs [--pack]. With `--pack` the files of the npm package are laid beside it:
// the library and its React hooks, each as an ES module and for `require`, with types for both.
import { copyFile, readFile, writeFile } from 'node:fs/promises';

const HERE = new URL('.', import.meta.url);
const ROOT = new URL('../../', HERE);
const WEB = new URL('src/web/', ROOT);

// Each needs only those before it.
const MODULES = ['errors', 'timers', 'events', 'binary', 'requests', 'token', 'options', 'address',
  'order', 'channel', 'messages', 'wake', 'watch', 'stentor'];
const PUBLIC = ['Stentor', 'Stentor as Client', 'Stentor as default', 'StentorError', 'backoff',
  'isFinal'];

const HEAD = `//! The client library: one WebSocket to a Stentor server that comes back by itself.
// For browsers and Node (22 and up, or with {WebSocket}). stentor.d.ts says what each member does.
// This file is made from clients/js/src by clients/js/build.mjs; the comments are in its sources.
// It is one file, so that people can copy it and load it from where nothing else lies.
`;

const sourceOf = (name) => readFile(new URL(name, HERE), 'utf8');

/** The code of a module, without the words that only its reader needs. */
const bare = (source) => source
  .replace(/^export \{[^}]*\};\n/gm, '')
  .replace(/^export /gm, '')
  .replace(/^[ \t]*\/\/ .*\n|^[ \t]*\/\*\*[^]*?\*\/\n|(?<=[,;{]) \/\/ .*$/gm, '')
  .replace(/\n{3,}/g, '\n\n')
  .trim();

async function library() {
  const parts = await Promise.all(MODULES.map(async (name) =>
    bare((await sourceOf(`src/${name}.js`)).replace(/^import [^;]+;\n/gm, ''))
      .replace(/^\/\/! (.*)$/m, `// ---- ${name}: $1`)));
  return `${HEAD}\n${parts.join('\n\n')}\n`;
}

const required = (names) => names.map((name) => name.replace(/(\w+) as (\w+)/, '$2: $1'));

/** An ES module as one for `require`. */
const common = (text, names) => `'use strict';\n${text}
Object.defineProperty(exports, '__esModule', { value: true });
Object.assign(exports, {\n  ${required(names).join(', ')},\n});\n`;

/** The text of the one file. */
export async function bundle() {
  return `${await library()}\nexport {\n  ${PUBLIC.join(', ')},\n};\n`;
}

/** The files of the npm package that are made here, by name. */
export async function files() {
  const react = await sourceOf('react/hooks.js');
  const types = await readFile(new URL('stentor.d.ts', WEB), 'utf8');
  const hookTypes = await sourceOf('react/hooks.d.ts');
  const wanted = bare(react)
    .replace(/^import (\{[^;]+\}) from '(\w+)';/gm, "const $1 = require('$2');");
  const hooks = [...react.matchAll(/^export function (\w+)/gm)].map(([, name]) => name);
  return {
    'stentor.js': await bundle(),
    'stentor.cjs': common(await library(), PUBLIC),
    'stentor.d.ts': types,
    'stentor.d.cts': types,
    'react.js': react,
    'react.cjs': common(wanted, hooks),
    'react.d.ts': hookTypes,
    'react.d.cts': hookTypes.replace("'./stentor.js'", "'./stentor.cjs'"),
  };
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  await writeFile(new URL('stentor.js', WEB), await bundle());
  if (process.argv.includes('--pack')) {
    for (const [name, text] of Object.entries(await files())) {
      await writeFile(new URL(name, HERE), text);
    }
    for (const name of ['LICENSE-MIT', 'LICENSE-APACHE']) {
      await copyFile(new URL(name, ROOT), new URL(name, HERE));
    }
  }
}
