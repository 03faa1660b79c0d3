//! Proves what the client makes of the network's and the page's own events.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { Socket, connected, settled, start } from './fake.mjs';

let page;

beforeEach(() => {
  page = new EventTarget();
  page.document = Object.assign(new EventTarget(), { hidden: false });
  globalThis.window = page;
});
afterEach(() => { delete globalThis.window; });

const tell = (type, target = page) => target.dispatchEvent(new Event(type));

function show(hidden) {
  page.document.hidden = hidden;
  tell('visibilitychange', page.document);
}

test('the network that is back ends the wait for the next attempt', async () => {
  const { clock, socket } = await connected();
  socket.end(1006);
  tell('online');
  assert.equal(Socket.all.length, 2);
  tell('online');
  await clock.pass(500);
  assert.equal(Socket.all.length, 2);
});

test('a network that goes is no news until the server is silent', async () => {
  const { client, clock, all, socket } = await connected({ pongTimeout: 3_000 });
  tell('offline');
  assert.equal(socket.asked('ping').length, 1);
  socket.say({ type: 'pong' });
  await clock.pass(3_000);
  assert.equal(client.state, 'connected');
  tell('offline');
  await clock.pass(3_000);
  assert.equal(all('close')[0].reason, 'nothing heard in time');
});

test('a page that is shown tries at once, or asks if the connection still is one', async () => {
  const resume = () => tell('resume', page.document);
  for (const wake of [() => show(false), resume, () => tell('online')]) {
    const { clock, socket } = await connected();
    show(true);
    assert.equal(socket.asked('ping').length, 0);
    wake();
    assert.equal(socket.asked('ping').length, 1);
    socket.say({ type: 'pong' });
    socket.end(1006);
    wake();
    assert.equal(Socket.all.length, 2);
    await clock.pass(1);
  }
});

test('a timer that a hidden page got late does not end a connection that lives', async () => {
  const { client, clock, all, socket } = await connected({ pingInterval: 20_000 });
  await clock.pass(20_000);
  assert.equal(socket.asked('ping').length, 1);
  clock.time += 3_600_000; // The page was frozen; the answer is in its queue behind the timer.
  await clock.pass(10);
  assert.equal(client.state, 'connected');
  socket.say({ type: 'pong' });
  await clock.pass(1_000);
  assert.deepEqual([client.state, all('close').length], ['connected', 0]);
  // Where there is no answer, it ends after all.
  await clock.pass(20_000);
  clock.time += 3_600_000;
  await clock.pass(1_010);
  assert.equal(all('close')[0].reason, 'nothing heard in time');
});

test('a page that is stored lets its socket go and recovers when it is back', async () => {
  const { client, clock, all, socket } = await connected();
  client.join('x');
  const { id } = socket.asked('join')[0];
  socket.say({ type: 'joined', id, channel: 'x', offset: 7, epoch: 'a' });
  tell('pagehide');
  assert.ok(socket.closed);
  assert.equal(all('close')[0].reason, 'page hidden');
  await clock.pass(60_000);
  assert.equal(Socket.all.length, 1);
  tell('pageshow');
  assert.equal(Socket.all.length, 2);
  assert.deepEqual(Socket.last.welcome().asked('join')[0].since, { epoch: 'a', offset: 7 });
});

test('a page that is stored while it waits for a token opens no socket', async () => {
  const bring = [];
  start({ getToken: () => new Promise((resolve) => { bring.push(resolve); }) });
  await settled();
  tell('pagehide');
  bring[0]('late');
  await settled();
  assert.equal(Socket.all.length, 0);
  tell('pageshow');
  bring[1]('t');
  await settled();
  assert.equal(Socket.all.length, 1);
});

test('a client that is closed hears nothing of it, and hears again once it connects', async () => {
  const { client } = await connected();
  client.close();
  ['online', 'pageshow', 'pagehide'].forEach((type) => tell(type));
  assert.deepEqual([client.state, Socket.all.length], ['disconnected', 1]);
  client.connect();
  Socket.last.end(1006);
  tell('online');
  assert.equal(Socket.all.length, 3);
});

test('a worker, which has no page, hears of the network', async () => {
  delete globalThis.window;
  globalThis.WorkerGlobalScope = class {};
  const target = new EventTarget();
  const { addEventListener } = globalThis;
  globalThis.addEventListener = target.addEventListener.bind(target);
  try {
    const { socket } = await connected();
    socket.end(1006);
    tell('online', target);
    assert.equal(Socket.all.length, 2);
  } finally {
    delete globalThis.WorkerGlobalScope;
    globalThis.addEventListener = addEventListener;
  }
});
