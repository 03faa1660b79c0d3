//! Proves when and how the client comes back, and when it does not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stentor, backoff, isFinal } from '../../src/web/stentor.js';
import { Clock, Socket, connected, settled, start } from './fake.mjs';

test('the back-off doubles from 500 ms to 20 s and is jittered down to nothing', () => {
  assert.deepEqual([0, 1, 2, 5, 6, 40].map((n) => backoff(n, () => 1)),
    [500, 1_000, 2_000, 16_000, 20_000, 20_000]);
  assert.equal(backoff(40, () => 0), 0);
  for (let i = 0; i < 200; i++) assert.ok(backoff(3) >= 0 && backoff(3) < 4_000);
});

test('the codes of the protocol that are final', () => {
  const final = [1002, 1007, 1008, 3500, 3501, 4000];
  assert.deepEqual(final.filter(isFinal), final);
  for (const code of [1000, 1001, 1006, 1009, 1011, 1012, 1013, 1014, 3000, 3008, 3012, 3499]) {
    assert.ok(!isFinal(code), `${code}`);
  }
});

test('listeners added after the constructor hear the first state', async () => {
  const { client, all } = start();
  assert.equal(client.state, 'connecting');
  await settled();
  assert.equal(Socket.all.length, 1);
  assert.deepEqual(Socket.last.protocols, ['stentor.v1']);
  Socket.last.welcome();
  assert.deepEqual(all('state').map((s) => s.state), ['connecting', 'connected']);
  assert.equal(client.id, 1);
});

test('options reach the address; http becomes ws', async () => {
  const { client } = start({ user: 'änne & co', echo: false });
  const url = new URL(client.url);
  assert.equal(url.searchParams.get('user'), 'änne & co');
  assert.equal(url.searchParams.get('echo'), 'false');
  assert.match(client.url, /user=%C3%A4nne%20%26%20co&/);
  client.close();
  assert.equal(new Stentor('https://host/ws', { autoConnect: false }).url, 'wss://host/ws');
});

test('each failed attempt waits longer; the state tells how long', async () => {
  const { clock, all } = start();
  await settled();
  for (const wait of [500, 1_000, 2_000]) {
    Socket.last.end(1006);
    assert.deepEqual(all('state').at(-1).retryInMs, wait);
    const before = Socket.all.length;
    await clock.pass(wait - 1);
    assert.equal(Socket.all.length, before);
    await clock.pass(1);
    assert.equal(Socket.all.length, before + 1);
  }
});

test('the back-off starts anew only after 5 s up', async () => {
  const { clock, all } = await connected();
  Socket.last.end(1001, 'draining');
  await clock.pass(500);
  Socket.last.welcome();
  await clock.pass(4_999);
  Socket.last.end(1006);
  assert.equal(all('close').at(-1).retryInMs, 1_000);
  await clock.pass(1_000);
  Socket.last.welcome();
  await clock.pass(5_000);
  Socket.last.end(1006);
  assert.equal(all('close').at(-1).retryInMs, 500);
});

test('a final code ends it, and connect() begins anew', async () => {
  const { client, clock, all, socket } = await connected();
  socket.end(3500, 'replaced');
  const close = { code: 3500, reason: 'replaced', final: true, retryInMs: null };
  assert.deepEqual(all('close'), [close]);
  assert.equal(client.state, 'disconnected');
  await clock.pass(60_000);
  assert.equal(Socket.all.length, 1);
  assert.equal(clock.pending, 0);
  client.connect();
  Socket.last.welcome();
  assert.equal(client.state, 'connected');
});

test('a message that was too large after all costs one connection', async () => {
  const { client, clock, all, socket } = await connected();
  client.join('x');
  const lost = client.publish('x', 1).catch((error) => error);
  socket.end(1009, 'message too large');
  assert.match((await lost).message, /1009 message too large/);
  assert.equal(all('close')[0].final, false);
  await clock.pass(500);
  assert.equal(Socket.last.welcome().asked('join').length, 1);
  assert.equal(client.state, 'connected');
});

test('an address is relative to the document, then to the worker; it has no fragment', async () => {
  const at = (base, url) => {
    Object.assign(globalThis, base);
    try {
      return new Stentor(url, { autoConnect: false }).url;
    } finally {
      Object.keys(base).forEach((name) => { delete globalThis[name]; });
    }
  };
  const location = { href: 'https://host/chat/room?channel=x#top' };
  const page = { location, document: { baseURI: location.href } };
  assert.equal(at(page, 'ws'), 'wss://host/chat/ws');
  assert.equal(at(page, './ws?channel=x#top'), 'wss://host/chat/ws?channel=x');
  assert.equal(at(page, '/ws'), 'wss://host/ws');
  assert.equal(at(page, '//other:81/ws'), 'wss://other:81/ws');
  assert.equal(at({ location, document: { baseURI: 'http://cdn/a/' } }, 'ws'), 'ws://cdn/a/ws');
  assert.equal(at({ location }, 'ws'), 'wss://host/chat/ws');
  assert.equal(at({}, new URL('http://host/a/ws')), 'ws://host/a/ws');
  assert.equal(at({}, { href: 'WSS://host/ws' }), 'wss://host/ws');
  assert.throws(() => at({}, 'ws'), TypeError);
});

test('a server without the subprotocol is final', async () => {
  const { client, all } = start();
  await settled();
  Socket.last.open('');
  assert.equal(client.state, 'disconnected');
  assert.equal(all('close')[0].code, 1002);
});

test('an attempt without a welcome is given up and tried again', async () => {
  const { clock, all } = start();
  await settled();
  Socket.last.open();
  await clock.pass(10_000);
  assert.equal(all('close')[0].reason, 'no welcome in time');
  await clock.pass(500);
  assert.equal(Socket.all.length, 2);
  assert.ok(Socket.all[0].closed);
});

test('retryNow ends the wait and leaves one attempt, not two', async () => {
  const { client, clock, socket } = await connected();
  socket.end(1006);
  client.retryNow();
  client.retryNow();
  assert.equal(Socket.all.length, 2);
  await clock.pass(500);
  assert.equal(Socket.all.length, 2);
  assert.equal(socket.closed, null);
});

test('close() says goodbye, stops every timer and ignores what the socket says later', async () => {
  const { client, clock, all, socket } = await connected();
  client.close();
  assert.deepEqual(socket.closed, { code: 1000, reason: '' });
  assert.equal(all('close')[0].final, true);
  socket.end(1000);
  assert.equal(all('close').length, 1);
  assert.equal(clock.pending, 0);
});

test('an aborted signal closes for good', async () => {
  const abort = new AbortController();
  const { client } = await connected({ signal: abort.signal });
  abort.abort();
  assert.equal(client.state, 'disconnected');
});

test('the watchdog asks when it is quiet and reconnects when nothing is heard', async () => {
  const watch = { pingInterval: 20_000, pongTimeout: 5_000 };
  const { client, clock, all, socket } = await connected(watch);
  await clock.pass(15_000);
  socket.say({ type: 'message', channel: 'x', offset: 1, from: null, time: 0, body: 1 });
  await clock.pass(19_999);
  assert.equal(socket.asked('ping').length, 0);
  await clock.pass(1);
  assert.equal(socket.asked('ping').length, 1);
  socket.say({ type: 'pong' });
  await clock.pass(24_000);
  assert.equal(client.state, 'connected');
  assert.equal(socket.asked('ping').length, 2);
  await clock.pass(1_000 + 5_000);
  assert.equal(all('close')[0].reason, 'nothing heard in time');
  assert.equal(client.state, 'connecting');
  assert.ok(socket.closed);
});

test('times beyond what timers can wait, and Infinity, mean never', async () => {
  for (const never of [2 ** 31, Infinity]) {
    const names = ['requestTimeout', 'connectTimeout', 'pingInterval', 'stableAfter'];
    const options = Object.fromEntries(names.map((name) => [name, never]));
    const { client, clock, socket } = await connected(options);
    client.publish('x', 1, { timeout: never });
    client.who('x');
    assert.equal(clock.pending, 0);
    assert.equal(socket.asked('ping').length, 0);
    client.close();
  }
  const { clock } = await connected({ pingInterval: 20, pongTimeout: 2 ** 31 - 1 });
  await clock.pass(20);
  assert.equal(clock.pending, 2); // The longest that timers can wait, and `stableAfter`.
});

/** A client whose address is asked for; each answer is the next of `answers`. */
function asking(answers, options) {
  const clock = new Clock();
  const asked = [];
  Socket.all = [];
  const url = async () => {
    const answer = answers[asked.length];
    asked.push(clock.time);
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const client = new Stentor(url, { WebSocket: Socket, random: () => 1, ...clock, ...options });
  const errors = [];
  client.on('error', ({ code, message }) => errors.push(`${code}: ${message}`));
  return { client, clock, asked, errors };
}

test('a function is asked for the address before each attempt', async () => {
  const answers = ['http://one/ws?channel=a', new URL('wss://two/ws'), new Error('busy'), 'ws://:',
    'ws://three/ws', null];
  const { client, clock, asked, errors } = asking(answers, { user: 'ana' });
  assert.equal(client.url, '');
  client.join('a');
  await settled();
  assert.equal(Socket.last.url, 'ws://one/ws?channel=a&user=ana');
  Socket.last.welcome();
  Socket.last.end(1006);
  await clock.pass(500);
  assert.equal(Socket.last.url, 'wss://two/ws?user=ana');
  assert.equal(client.url, 'wss://two/ws?user=ana');
  Socket.last.end(1006);
  await clock.pass(1_000 + 2_000 + 4_000);
  assert.equal(Socket.last.url, 'ws://three/ws?user=ana');
  assert.equal(errors[0], 'no_url: url failed: busy');
  assert.match(errors[1], /^no_url: url brought no address: /);
  const closes = [];
  client.on('close', ({ reason, final }) => closes.push(reason, final));
  Socket.last.end(1006);
  await clock.pass(8_000);
  assert.deepEqual(closes, ['', false, 'no url', true]);
  assert.equal(client.state, 'disconnected');
  assert.equal(asked.length, answers.length);
});

test('an address that takes too long is asked for again; none is dialled after close', async () => {
  const { client, clock, errors } = asking([new Promise(() => {}), 'ws://two/ws']);
  await clock.pass(10_000);
  assert.deepEqual(errors, ['no_url: url took too long']);
  assert.equal(Socket.all.length, 0);
  await clock.pass(500);
  assert.equal(Socket.last.url, 'ws://two/ws');
  client.close();
  let bring;
  const late = asking([new Promise((resolve) => { bring = resolve; })]);
  await settled();
  late.client.close();
  bring('ws://late/ws');
  await settled();
  assert.equal(Socket.all.length, 0);
});

test('an address and a token that are both asked for are both shown', async () => {
  const { client } = asking(['ws://one/ws?token=old'], { getToken: () => 't1' });
  await settled();
  assert.equal(Socket.last.url, 'ws://one/ws');
  assert.deepEqual(Socket.last.protocols, ['stentor.v1', 'stentor.token.t1']);
  client.close();
});
