//! Proves where tokens come from, when new ones are asked for, and when the client gives up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stentor } from '../../src/web/stentor.js';
import { Socket, connected, refusal, settled, start } from './fake.mjs';

const PREFIX = 'stentor.token.';
const tokenOf = (socket = Socket.last) =>
  socket.protocols.find((one) => one.startsWith(PREFIX))?.slice(PREFIX.length) ?? null;

/** A `getToken` that brings t1, t2, …; its next answers can be put into `next`. */
function source() {
  const next = [];
  const asked = [];
  const getToken = async (about) => {
    asked.push(about);
    const answer = next.length ? next.shift() : `t${asked.length}`;
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { next, asked, getToken };
}

test('a token is shown among the subprotocols and nowhere else', async () => {
  const { client } = start({ token: 'a.b-c_d', user: 'ana' });
  await settled();
  assert.deepEqual(Socket.last.protocols, ['stentor.v1', 'stentor.token.a.b-c_d']);
  assert.equal(Socket.last.url, 'ws://host/ws?user=ana');
  assert.doesNotMatch(client.url, /token/);
  Socket.last.welcome();
  Socket.all = [];
  const options = { token: 'new', WebSocket: Socket, setTimeout() {}, clearTimeout() {} };
  const other = new Stentor('ws://host/ws?token=old&echo=false', options);
  await settled();
  assert.equal(Socket.last.url, 'ws://host/ws?echo=false');
  assert.equal(tokenOf(), 'new');
  other.close();
});

test('getToken is asked once, and its token serves until it may have failed', async () => {
  const { asked, getToken } = source();
  const { clock } = start({ getToken });
  assert.equal(Socket.all.length, 0);
  await settled();
  assert.equal(tokenOf(), 't1');
  Socket.last.welcome().end(1006);
  await clock.pass(500);
  assert.equal(tokenOf(), 't1');
  Socket.last.end(1006); // Refused, or nobody was there: a browser is not told.
  await clock.pass(1_000);
  assert.equal(tokenOf(), 't2');
  Socket.last.welcome().end(3005, 'expired');
  await clock.pass(2_000);
  assert.equal(tokenOf(), 't3');
  assert.equal(asked.length, 3);
});

test('a token that is given serves first, getToken only after it', async () => {
  const { getToken } = source();
  const { clock, socket } = await connected({ token: 'given', getToken });
  assert.equal(tokenOf(), 'given');
  socket.end(3005, 'expired');
  await clock.pass(500);
  assert.equal(tokenOf(), 't1');
});

test('without getToken an expired token is the end, until refresh brings another', async () => {
  const { client, all, socket } = await connected({ token: 'old' });
  socket.end(3005, 'expired');
  assert.equal(all('close')[0].final, true);
  assert.equal(await client.refresh('new'), null);
  client.connect();
  assert.equal(tokenOf(), 'new');
});

test('a getToken that fails is asked again after a pause', async () => {
  const wrong = [new Error('no network'), undefined, 7, '', 'no token, but a sentence'];
  const { next, asked, getToken } = source();
  next.push(...wrong);
  const { clock, all } = start({ getToken });
  await settled();
  for (const [n] of wrong.entries()) {
    assert.equal(all('error').length, n + 1);
    assert.deepEqual([all('error')[n].code, all('close')[n].final], ['no_token', false]);
    assert.equal(all('close')[n].retryInMs, 500 * 2 ** n);
    await clock.pass(500 * 2 ** n);
  }
  assert.match(all('error')[0].message, /no network/);
  assert.equal(all('error')[0].cause, wrong[0]);
  assert.deepEqual([tokenOf(), asked.length, Socket.all.length], ['t6', 6, 1]);
});

test('a getToken that throws at once, or never answers, is one that fails', async () => {
  const thrown = start({ getToken() { throw new Error('bug'); } });
  await settled();
  assert.match(thrown.all('error')[0].message, /bug/);
  thrown.client.close();
  const { clock, all, client } = start({ getToken: () => new Promise(() => {}) });
  await clock.pass(10_000);
  assert.match(all('error')[0].message, /too long/);
  client.close();
  assert.equal(clock.pending, 0);
});

test('null gives up, and connect() asks again', async () => {
  const { next, getToken } = source();
  next.push(null);
  const { client, all, clock } = start({ getToken });
  const waiting = refusal(client.join('x'));
  await settled();
  const { final, reason } = all('close')[0];
  assert.deepEqual([client.state, final, reason], ['disconnected', true, 'no token']);
  assert.equal(await waiting, 'disconnected');
  await clock.pass(60_000);
  assert.equal(Socket.all.length, 0);
  client.connect();
  await settled();
  assert.equal(tokenOf(), 't2');
});

test('a token that comes after close() opens nothing', async () => {
  let bring;
  const { client } = start({ getToken: () => new Promise((resolve) => { bring = resolve; }) });
  await settled();
  client.close();
  bring('late');
  await settled();
  assert.deepEqual([client.state, Socket.all.length], ['disconnected', 0]);
});

test('a token that ends soon is replaced while connected', async () => {
  const { asked, getToken } = source();
  const { clock, all, socket } = await connected({ getToken, token: 'given', pingInterval: 0 });
  socket.say({ type: 'expiring', in: 30 });
  await settled();
  assert.deepEqual(all('expiring'), [{ in: 30 }]);
  assert.deepEqual(socket.asked('refresh').map(({ token }) => token), ['t1']);
  socket.say({ type: 'refreshed', id: socket.asked('refresh')[0].id, expires: 99 });
  await clock.pass(60_000);
  assert.equal(asked.length, 1);
  Socket.last.end(1006);
  await clock.pass(500);
  assert.equal(tokenOf(), 't1');
});

test('a refresh that fails is tried with the next token, until the connection ends', async () => {
  const { next, asked, getToken } = source();
  next.push(new Error('busy'));
  const { clock, all, socket } = await connected({ getToken, token: 'given' });
  socket.say({ type: 'expiring', in: 30 });
  await clock.pass(1_000);
  const { id } = socket.asked('refresh')[0];
  socket.say({ type: 'error', id, code: 'bad_token', text: 'not valid' });
  await clock.pass(2_000);
  assert.deepEqual(socket.asked('refresh').map(({ token }) => token), ['t2', 't3']);
  assert.deepEqual(all('error').map(({ code }) => code), ['no_token', 'bad_token']);
  next.push(new Error('busy'));
  socket.say({ type: 'expiring', in: 1 });
  await settled();
  socket.end(3005, 'expired');
  assert.equal(clock.pending, 1); // The next attempt, and nothing else.
  await clock.pass(500);
  Socket.last.welcome();
  assert.equal(tokenOf(), 't5');
  await clock.pass(20_000);
  assert.equal(asked.length, 5);
});

test('a token that the server refuses does not replace one that is good', async () => {
  const { client, clock, socket } = await connected({ token: 'good' });
  const refused = refusal(client.refresh('bad'));
  const { id } = socket.asked('refresh')[0];
  socket.say({ type: 'error', id, code: 'bad_token', text: 'no' });
  assert.equal(await refused, 'bad_token');
  const lost = refusal(client.refresh('newer'));
  socket.end(1006);
  assert.equal(await lost, 'lost');
  await clock.pass(500);
  assert.equal(tokenOf(), 'newer');
  Socket.last.welcome();
  const again = refusal(client.refresh('bad'));
  const other = Socket.last.asked('refresh')[0].id;
  Socket.last.say({ type: 'error', id: other, code: 'bad_token', text: 'no' });
  await again;
  Socket.last.end(1006);
  await clock.pass(1_000);
  assert.equal(tokenOf(), 'newer');
});

test('a refresh that brings null closes for good', async () => {
  const { client, all, socket } = await connected({ getToken: () => null, token: 'given' });
  socket.say({ type: 'expiring', in: 30 });
  await settled();
  assert.equal(client.state, 'disconnected');
  assert.equal(all('close')[0].reason, 'no token');
});

test('a page without getToken is told, and refreshes itself', async () => {
  const { client, all, socket } = await connected({ token: 'given' });
  socket.say({ type: 'expiring', in: 5 });
  assert.deepEqual(all('expiring'), [{ in: 5 }]);
  const done = client.refresh('mine');
  socket.say({ type: 'refreshed', id: socket.asked('refresh')[0].id, expires: null });
  assert.equal((await done).expires, null);
});

test('a private channel has a token of its own, a new one for each connection', async () => {
  const { asked, getToken } = source();
  const { client, clock, socket } = await connected();
  client.join('$p', { getToken });
  client.join('$q', { token: 'fixed' });
  await settled();
  const joins = () => Socket.last.asked('join').map(({ channel, token }) => [channel, token]);
  assert.deepEqual(joins(), [['$q', 'fixed'], ['$p', 't1']]);
  assert.deepEqual(asked, [{ channel: '$p', client: 1 }]);
  socket.end(1006);
  await clock.pass(500);
  Socket.last.welcome();
  await settled();
  assert.deepEqual(joins(), [['$q', 'fixed'], ['$p', 't2']]);
  assert.equal(asked[1].client, 2);
});

test('a token of a channel that is given serves once, then getToken', async () => {
  const { getToken } = source();
  const { client, clock, socket } = await connected();
  client.join('$p', { token: 'given', getToken });
  assert.equal(socket.asked('join')[0].token, 'given');
  socket.say({ type: 'error', id: socket.asked('join')[0].id, code: 'expired_token', text: '' });
  await clock.pass(1_000);
  assert.equal(socket.asked('join')[1].token, 't1');
});

test('a channel whose getToken fails is tried again; null refuses the join', async () => {
  const { next, getToken } = source();
  next.push(new Error('busy'), 't', null);
  const { client, clock, all, socket } = await connected();
  const join = client.join('$p', { getToken });
  await settled();
  assert.equal(all('error')[0].code, 'no_token');
  await clock.pass(1_000);
  const { id } = socket.asked('join')[0];
  socket.say({ type: 'joined', id, channel: '$p', offset: 0, epoch: 'a' });
  await join;
  assert.equal(await refusal(client.join('$r', { getToken })), 'no_token');
  assert.deepEqual(client.channels, ['$p']);
});

test('refused tokens of a channel are replaced, but not for ever', async () => {
  const { asked, getToken } = source();
  const { client, clock, socket } = await connected({ pingInterval: 0, requestTimeout: Infinity });
  const join = refusal(client.join('$p', { getToken }));
  for (let n = 0; n < 5; n += 1) {
    await clock.pass(20_000);
    const { id } = socket.asked('join')[n];
    socket.say({ type: 'error', id, code: 'bad_token', text: 'no' });
  }
  assert.equal(await join, 'bad_token');
  await clock.pass(20_000);
  assert.equal(asked.length, 5);
});

test('a channel that was left meanwhile is not joined when its token comes', async () => {
  let bring;
  const { client, socket } = await connected();
  const getToken = () => new Promise((resolve) => { bring = resolve; });
  client.join('$p', { getToken });
  client.leave('$p');
  bring('late');
  await settled();
  assert.equal(socket.asked('join').length, 0);
});

const joined = (socket, fields) => {
  const { id, channel } = socket.asked('join').at(-1);
  socket.say({ type: 'joined', id, channel, offset: 3, epoch: 'a', ...fields });
};

test('the token of a channel that ends soon is replaced while it is heard', async () => {
  const { next, asked, getToken } = source();
  const { client, clock, all, socket } = await connected({ pingInterval: 0 });
  client.join('$p', { getToken });
  await settled();
  joined(socket, { expires: 60 });
  next.push(new Error('busy'));
  socket.say({ type: 'expiring', channel: '$p', in: 30 });
  await settled();
  assert.deepEqual(all('expiring'), [{ in: 30, channel: '$p' }]);
  assert.deepEqual([all('error')[0].code, socket.asked('refresh')], ['no_token', []]);
  await clock.pass(1_000);
  const [{ id, channel, token }] = socket.asked('refresh');
  assert.deepEqual([channel, token], ['$p', 't3']);
  socket.say({ type: 'refreshed', id, channel, expires: 60 });
  await clock.pass(60_000);
  assert.deepEqual(asked.slice(1), Array(2).fill({ channel: '$p', client: 1 }));
  socket.say({ type: 'expiring', channel: '$p', in: 30 });
  await settled();
  const second = socket.asked('refresh')[1];
  socket.say({ type: 'error', id: second.id, code: 'bad_token', text: 'no' });
  await clock.pass(1_000);
  assert.deepEqual(socket.asked('refresh').map((one) => one.token), ['t3', 't4', 't5']);
  assert.equal(socket.asked('join').length, 1);
});

test('a channel whose token has ended is joined again with another, and recovers', async () => {
  const { getToken } = source();
  const { client, all, socket } = await connected();
  const bodies = [];
  client.join('$p', { getToken, onmessage: ({ body }) => bodies.push(body) });
  await settled();
  joined(socket, {});
  socket.say({ type: 'message', channel: '$p', offset: 4, body: 'one' });
  socket.say({ type: 'left', channel: '$p', reason: 'expired' });
  await settled();
  assert.deepEqual(all('left'), [{ type: 'left', channel: '$p', reason: 'expired', own: true }]);
  const { token, since } = socket.asked('join').at(-1);
  assert.deepEqual([token, since], ['t2', { epoch: 'a', offset: 4 }]);
  socket.say({ type: 'message', channel: '$p', offset: 5, body: 'two' });
  joined(socket, { offset: 5, recovered: true });
  assert.deepEqual([bodies, all('joined').at(-1).recovered], [['one', 'two'], true]);
});

test('a channel whose token has ended is over where nobody brings another', async () => {
  const { client, all, socket } = await connected();
  const ends = [];
  client.join('$p', { token: 'given', onend: ({ code }) => ends.push(code) });
  joined(socket, {});
  socket.say({ type: 'expiring', channel: '$p', in: 5 });
  const refreshed = client.refresh('newer', { channel: '$p' });
  const { id, channel, token } = socket.asked('refresh')[0];
  assert.deepEqual([channel, token], ['$p', 'newer']);
  socket.say({ type: 'refreshed', id, channel, expires: 9 });
  assert.equal((await refreshed).expires, 9);
  socket.say({ type: 'left', channel: '$p', reason: 'expired' });
  assert.deepEqual([client.channels, ends], [[], ['expired_token']]);
  assert.equal(all('left')[0].reason, 'expired');
});

test('a getToken that brings null for a channel leaves it', async () => {
  const { next, getToken } = source();
  const { client, socket } = await connected();
  client.join('$p', { getToken });
  await settled();
  joined(socket, {});
  next.push(null);
  socket.say({ type: 'expiring', channel: '$p', in: 30 });
  await settled();
  assert.deepEqual([client.channels, socket.asked('leave').length], [[], 1]);
});
