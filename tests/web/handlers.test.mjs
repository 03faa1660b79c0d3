//! Proves that a handler which throws harms nobody else, and that each join ends alone.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { Socket, connected, refusal, settled } from './fake.mjs';

const publication = (offset, channel = 'x') =>
  ({ type: 'message', channel, offset, from: null, time: 0, body: `m${offset}` });

const grant = (socket, offset = 0) => socket.asked('join')
  .forEach(({ id, channel }) => socket.say({ type: 'joined', id, channel, offset }));

/** A connected client whose reported errors are kept in `reported`. */
async function reporting(options) {
  const reported = [];
  const reportError = (error) => reported.push(error.message);
  return { reported, ...(await connected({ reportError, ...options })) };
}

test('a handler that throws is reported, and all others hear the message', async () => {
  const { client, all, socket, reported } = await reporting();
  const heard = [];
  client.join('x', { onmessage() { throw new Error('sync'); } });
  client.join('x', { async onmessage() { throw new Error('async'); } });
  client.join('x', { onmessage: (m) => heard.push(m.offset) });
  grant(socket);
  socket.say(publication(1));
  socket.say(publication(2));
  await settled();
  assert.deepEqual(heard, [1, 2]);
  assert.deepEqual(all('message').map((m) => m.offset), [1, 2]);
  assert.deepEqual(reported.sort(), ['async', 'async', 'sync', 'sync']);
});

test('listeners of events that throw are reported, however they were added', async () => {
  const { client, all, socket, reported } = await reporting();
  client.addEventListener('message', () => { throw new Error('function'); });
  client.addEventListener('message', { handleEvent() { throw new Error('object'); } });
  client.on('message', async () => { throw new Error('on'); });
  client.on('message', () => { throw new Error('once'); }, { once: true });
  const later = [];
  client.on('message', (m) => later.push(m.offset));
  const published = client.publish('x', 1);
  socket.say(publication(1));
  socket.say(publication(2));
  socket.answer('publish', { offset: 1 });
  await published;
  await settled();
  assert.deepEqual(later, [1, 2]);
  assert.deepEqual(all('message').length, 2);
  assert.deepEqual(reported.sort(),
    ['function', 'function', 'object', 'object', 'on', 'on', 'once']);
});

test('a listener is added once, hears its client as `this`, and can be removed', async () => {
  const { client, socket } = await connected();
  const heard = [];
  function listener() { heard.push(this); }
  client.addEventListener('message', listener);
  client.addEventListener('message', listener);
  client.addEventListener('message', null);
  socket.say(publication(1));
  client.removeEventListener('message', listener);
  client.removeEventListener('message', null);
  socket.say(publication(2));
  assert.deepEqual(heard, [client]);
});

test('listeners that throw while the connection ends do not keep the client away', async () => {
  const { client, clock, socket, reported } = await reporting();
  for (const type of ['close', 'state', 'welcome', 'joined']) {
    client.on(type, () => { throw new Error(type); });
  }
  client.join('x');
  socket.end(1006);
  await clock.pass(500);
  grant(Socket.last.welcome());
  assert.equal(client.state, 'connected');
  assert.deepEqual(reported, ['close', 'state', 'state', 'welcome', 'state', 'joined']);
});

test('Node lives on without a hook, and tells the error on stderr', () => {
  const source = `
    import { Socket, connected } from './fake.mjs';
    const { client, socket } = await connected();
    client.join('x', { async onmessage() { throw new Error('asynchronous bug'); } });
    client.addEventListener('message', () => { throw new Error('bug of a listener'); });
    socket.say({ type: 'message', channel: 'x', offset: 1, from: null, time: 0, body: 1 });
    setTimeout(() => console.log(client.state), 20);`;
  const options = { cwd: new URL('.', import.meta.url), encoding: 'utf8' };
  const { status, stdout, stderr } = spawnSync(process.execPath,
    ['--input-type=module', '--eval', source], options);
  assert.equal(stdout, 'connected\n', stderr);
  assert.equal(status, 0);
  assert.match(stderr, /bug of a listener[^]*asynchronous bug/);
});

test('a reporter that throws itself harms nobody', async () => {
  const { error } = console;
  const told = [];
  console.error = (e) => told.push(e.message);
  try {
    const { all, client, socket } = await connected({ reportError() { throw new Error('no'); } });
    client.join('x', { onmessage() { throw new Error('bug'); } });
    socket.say(publication(1));
    assert.deepEqual([told, all('message').length], [['bug'], 1]);
  } finally {
    console.error = error;
  }
});

test('an aborted join takes its own handler only; the last one leaves the channel', async () => {
  const { client, socket } = await connected();
  const heard = [];
  const aborts = [new AbortController(), new AbortController()];
  const joins = ['a', 'b'].map((who, n) => client.join('x',
    { onmessage: (m) => heard.push(`${who}${m.offset}`), signal: aborts[n].signal }));
  grant(socket);
  await Promise.all(joins);
  socket.say(publication(1));
  aborts[0].abort();
  assert.deepEqual([client.channels, socket.asked('leave').length], [['x'], 0]);
  socket.say(publication(2));
  assert.deepEqual(heard, ['a1', 'b1', 'b2']);
  aborts[1].abort();
  assert.deepEqual([client.channels, socket.asked('leave').length], [[], 1]);
});

test('a join that is aborted before its answer rejects alone', async () => {
  const { client, socket } = await connected();
  const abort = new AbortController();
  const [first, second] = [client.join('x', { signal: abort.signal }), client.join('x')];
  abort.abort(new TypeError('changed my mind'));
  assert.equal(await refusal(first), 'TypeError');
  grant(socket, 3);
  assert.equal((await second).offset, 3);
  assert.equal(socket.asked('leave').length, 0);
});

test('leave with a handler takes that one back alone', async () => {
  const { client, socket } = await connected();
  const heard = [];
  const [a, b] = ['a', 'b'].map((who) => (m) => heard.push(`${who}${m.offset}`));
  for (const onmessage of [a, b, b]) client.join('x', { onmessage });
  grant(socket);
  socket.say(publication(1));
  assert.deepEqual(await client.leave('x', { onmessage: a }), { channel: 'x' });
  assert.deepEqual(await client.leave('y', { onmessage: a }), { channel: 'y' });
  socket.say(publication(2));
  assert.equal(socket.asked('leave').length, 0);
  client.leave('x', { onmessage: b });
  assert.deepEqual(socket.asked('leave').map((m) => m.channel), ['x']);
  socket.say(publication(3));
  assert.deepEqual(heard, ['a1', 'b1', 'b2']);
});

test('a handler of two joins is called once a message, until both are gone', async () => {
  const { client, socket } = await connected();
  const heard = [];
  const onmessage = (m) => heard.push(m.offset);
  const abort = new AbortController();
  client.join('x', { onmessage, signal: abort.signal });
  client.join('x', { onmessage });
  socket.say(publication(1));
  abort.abort();
  socket.say(publication(2));
  assert.deepEqual(heard, [1, 2]);
});

test('a handler that another takes back during a message does not hear it', async () => {
  const { client, socket } = await connected();
  const heard = [];
  const b = () => heard.push('b');
  client.join('x', { onmessage() { heard.push('a'); client.leave('x', { onmessage: b }); } });
  client.join('x', { onmessage: b });
  socket.say(publication(1));
  assert.deepEqual(heard, ['a']);
});

test('a signal that outlives the channel leaves the next join of it alone', async () => {
  const { client, socket } = await connected();
  const abort = new AbortController();
  client.join('x', { signal: abort.signal });
  client.leave('x');
  client.join('x');
  assert.equal(getEventListeners(abort.signal, 'abort').length, 0);
  abort.abort();
  assert.deepEqual(client.channels, ['x']);
  assert.equal(socket.asked('leave').length, 1);
});

test('presence is asked for while a join that wants it is there', async () => {
  const { client, clock, socket } = await connected();
  const abort = new AbortController();
  client.join('x', { presence: true, signal: abort.signal });
  client.join('x');
  abort.abort();
  socket.end(1006);
  await clock.pass(500);
  assert.deepEqual(socket.asked('join').map((m) => m.presence), [true, true]);
  assert.deepEqual(Socket.last.welcome().asked('join').map((m) => m.presence), [false]);
});
