// The packed npm package with React, against a real server: useChannel joins, recovers, shares and leaves; bytes arrive as bytes.
// Usage: node react.mjs ws://ADDRESS, for a server that keeps history with recovery.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import WebSocket from 'ws';

const [url] = process.argv.slice(2);
setTimeout(() => { console.error('no end in 60 s'); process.exit(1); }, 60_000).unref();
globalThis.IS_REACT_ACT_ENVIRONMENT = true;

/** Installs the package as npm packs it, beside React. */
async function installed() {
  const folder = await mkdtemp(join(tmpdir(), 'stentor-'));
  const run = (args, cwd) => execFileSync('npm', [...args, '--offline'], { cwd, stdio: 'pipe' });
  run(['pack', '--pack-destination', folder], fileURLToPath(new URL('../../clients/js', import.meta.url)));
  await writeFile(join(folder, 'package.json'), '{"private":true}');
  const [tarball] = execFileSync('ls', [folder], { encoding: 'utf8' }).match(/\S+\.tgz/);
  run(['install', '--no-audit', '--no-fund', '--omit=peer', `./${tarball}`], folder);
  for (const name of ['react', 'react-test-renderer']) {
    const target = fileURLToPath(new URL(`node_modules/${name}`, import.meta.url));
    await symlink(target, join(folder, 'node_modules', name));
  }
  return folder;
}

async function eventually(what, check) {
  const { act } = react;
  for (const end = Date.now() + 20_000; Date.now() < end;) {
    if (check()) return;
    await act(() => new Promise((resolve) => { setTimeout(resolve, 10); }));
  }
  assert.fail(`never: ${what}`);
}

const folder = await installed();
const require = createRequire(join(folder, 'package.json'));
// As `require` sees them; package.test.mjs holds the ES modules to the same.
const react = require('react');
const renderer = require('react-test-renderer');
const { Stentor } = require('stentor-ws');
const { StentorProvider, useChannel, useConnection } = require('stentor-ws/react');
const h = react.createElement;

const make = () => new Stentor(() => `${url}/ws`, { WebSocket, random: () => 0.1 });
const [client, other] = [make(), make()];
const views = {}; // What each component was last rendered with.
const heard = [];

function Room({ name, channel, ...options }) {
  views[name] = { ...useChannel(channel, options), connection: useConnection() };
  return null;
}
const bodies = (name) => views[name].messages.map(({ body }) => body);
const render = (...rooms) => h(react.StrictMode, null,
  h(StentorProvider, { client }, ...rooms.map((room) => h(Room, { key: room.name, ...room }))));

/** History comes first, then live messages, each once, in strict mode too. */
async function joins() {
  await other.publish('room', 'old 1');
  await other.publish('room', 'old 2');
  const first = { name: 'first', channel: 'room', history: 10, onMessage: (m) => heard.push(m.body) };
  let tree;
  await react.act(() => { tree = renderer.create(render(first)); });
  await eventually('the history is there', () => bodies('first').length === 2);
  assert.equal(views.first.status, 'joined');
  assert.equal(views.first.connection, 'connected');
  await views.first.publish('mine');
  await other.publish('room', new Uint8Array([0, 255]));
  await eventually('live messages are there', () => bodies('first').length === 4);
  assert.deepEqual(bodies('first'), ['old 1', 'old 2', 'mine', new Uint8Array([0, 255])]);
  assert.deepEqual(heard, ['mine', new Uint8Array([0, 255])]);
  return { tree, first };
}

/** Bytes are a binary message to plain clients, and theirs are bytes here. */
async function bytes() {
  const plain = new WebSocket(`${url}/ws?channel=bytes`);
  const got = new Promise((resolve) => {
    plain.on('message', (data, isBinary) => resolve([isBinary, ...data]));
  });
  await new Promise((resolve) => { plain.on('open', resolve); });
  const messages = other.messages('bytes');
  const next = messages.next();
  await other.join('bytes');
  await other.publish('bytes', new Uint16Array([0x0201]).buffer);
  assert.deepEqual(await got, [true, 1, 2]);
  assert.deepEqual((await next).value.body, new Uint8Array([1, 2]));
  plain.send(Buffer.from([7]));
  assert.deepEqual((await messages.next()).value.body, new Uint8Array([7]));
  await messages.return();
  plain.close();
}

/** What was published while the connection was away is recovered. */
async function recovers({ tree, first }) {
  const isCut = new Promise((resolve) => { client.on('close', resolve, { once: true }); });
  // The application's own way to cut a connection: the client comes back when told to.
  client.close();
  await isCut;
  await eventually('the components know', () => views.first.connection === 'disconnected');
  await other.publish('room', 'missed');
  client.connect();
  await eventually('it is recovered', () => bodies('first').at(-1) === 'missed');
  assert.equal(views.first.isIncomplete, false);
  assert.equal(bodies('first').length, 5);
  return { tree, first };
}

/** Two components share a channel; the last one to go leaves it. */
async function shares({ tree, first }) {
  const second = { name: 'second', channel: 'room', keep: 2 };
  await react.act(() => tree.update(render(first, second)));
  await eventually('both are in', () => views.second.status === 'joined');
  for (const body of ['a', 'b', 'c']) await other.publish('room', body);
  await eventually('both hear', () => bodies('second').at(-1) === 'c' && bodies('first').at(-1) === 'c');
  assert.deepEqual(bodies('second'), ['b', 'c']);
  await react.act(() => tree.update(render(second)));
  await other.publish('room', 'd');
  await eventually('one still hears', () => bodies('second').at(-1) === 'd');
  assert.equal(bodies('first').at(-1), 'c');
  assert.deepEqual(client.channels, ['room']);
  await react.act(() => tree.update(render({ ...second, channel: 'other' })));
  await eventually('another channel', () => client.channels.join() === 'other');
  assert.deepEqual(bodies('second'), []);
  await react.act(() => tree.update(render({ ...second, channel: null })));
  await eventually('none', () => client.channels.length === 0);
  assert.equal(views.second.status, 'idle');
}

/** A refusal is told, and a component without a client says what it needs. */
async function refusals() {
  let tree;
  await react.act(() => { tree = renderer.create(render({ name: 'bad', channel: 'x'.repeat(65) })); });
  await eventually('it is refused', () => views.bad.status === 'refused');
  assert.equal(views.bad.error.code, 'bad_name');
  await react.act(() => tree.unmount());
  const quiet = console.error;
  console.error = () => {};
  const alone = async () => react.act(() => { renderer.create(h(Room, { name: 'x', channel: 'x' })); });
  await assert.rejects(alone(), /wrap the component in a StentorProvider/);
  console.error = quiet;
}

const warn = console.error;
console.error = (text, ...rest) => /deprecated|not wrapped in act/.test(text) || warn(text, ...rest);
try {
  await shares(await recovers(await joins()));
  await refusals();
  await bytes();
} finally {
  client.close();
  other.close();
  await rm(folder, { recursive: true });
}
console.log('react: all is well');
process.exit();
