//! Proves what a strict content security policy needs of the page, and that its parts fit together.
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';

const WEB = new URL('../../src/web/', import.meta.url);
const files = await readdir(WEB);
const read = async (name) => (await readFile(new URL(name, WEB))).toString();
const html = await read('index.html');
const scripts = files.filter((name) => name.endsWith('.js'));

test('every file that the page names is beside it', async () => {
  const named = [...html.matchAll(/(?:src|href)="([^"#]+)"/g)].map((m) => m[1]);
  for (const script of scripts) {
    named.push(...[...(await read(script)).matchAll(/from '\.\/([^']+)'/g)].map((m) => m[1]));
  }
  assert.deepEqual(named.filter((name) => !files.includes(name)), []);
});

test('nothing inline, nothing from elsewhere', async () => {
  assert.doesNotMatch(html, /<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|"javascript:/);
  for (const name of ['index.html', 'style.css', ...scripts]) {
    assert.doesNotMatch(await read(name), /https?:\/\//, name);
  }
  assert.doesNotMatch(await read('style.css'), /url\(|@import/);
});

test('every address is relative, so that a proxy can serve it all under a path', async () => {
  assert.doesNotMatch(html, /\s(?:src|href|action)="\//);
  assert.doesNotMatch(await read('style.css'), /["'(]\//);
  for (const name of scripts) assert.doesNotMatch(await read(name), /["']\/\w/, name);
});

test('every module is preloaded, so that none waits for another', async () => {
  const loaded = [...html.matchAll(/"(?:modulepreload|module)" (?:href|src)="([^"]+)"/g)];
  assert.deepEqual(loaded.map((m) => m[1]).sort(), scripts.sort());
});

test('text is never read as HTML', async () => {
  for (const name of scripts) {
    assert.doesNotMatch(await read(name), /(?:inner|outer|Adjacent)HTML|document\.write|eval\(/);
  }
});

test('every element that scripts and labels ask for is on the page, once', async () => {
  const ids = [...html.matchAll(/\sid="([^"]+)"/g)].map((m) => m[1]);
  assert.equal(new Set(ids).size, ids.length);
  for (const name of scripts) {
    for (const [, id] of (await read(name)).matchAll(/\b(?:at|put|click)\('([^']+)'/g)) {
      assert.ok(ids.includes(id), `${name}: ${id}`);
    }
  }
  const points = /\s(?:for|aria-controls|aria-labelledby|aria-describedby)="([^"]+)"/g;
  for (const [, id] of html.matchAll(points)) assert.ok(ids.includes(id), id);
});
