//! Proves what the library says to recover, and what it tells where that is not possible.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stentor } from '../../src/web/stentor.js';
import { Socket, connected, refusal, settled } from './fake.mjs';

const publication = (offset, channel = 'x') =>
  ({ type: 'message', channel, offset, from: null, time: 0, body: `m${offset}` });
const kept = (...offsets) =>
  offsets.map((offset) => ({ offset, from: null, time: 0, body: `m${offset}` }));

function joined(fields, socket = Socket.last) {
  const { id, channel } = socket.asked('join').at(-1);
  socket.say({ type: 'joined', id, channel, epoch: 'a', ...fields });
}

function history(fields, socket = Socket.last) {
  const { id, channel } = socket.asked('history').at(-1);
  socket.say({ type: 'history', id, channel, offset: 99, epoch: 'a', more: false, ...fields });
}

/** A client in `x` at `offset`, and what it handed on. */
async function at(offset, options = {}) {
  const started = await connected(options);
  const heard = [];
  started.client.join('x', { onmessage: (m) => heard.push(m.offset) });
  joined({ offset });
  return { ...started, heard };
}

/** The connection ends, and another one is welcomed. */
async function reconnect(clock, welcome) {
  Socket.last.end(1006);
  await clock.pass(4_000);
  return Socket.last.welcome(welcome);
}

test('a rejoin names what was heard last; what is brought again is no loss', async () => {
  const { clock, all, socket, heard } = await at(3);
  assert.equal(socket.asked('join')[0].since, undefined);
  socket.say(publication(4));
  const next = await reconnect(clock);
  assert.deepEqual(next.asked('join')[0].since, { epoch: 'a', offset: 4 });
  [5, 6, 7].forEach((offset) => next.say(publication(offset)));
  joined({ offset: 7, recovered: true });
  next.say(publication(8));
  assert.deepEqual(heard, [4, 5, 6, 7, 8]);
  const told = all('joined').map(({ recovered, missed }) => [recovered, missed]);
  assert.deepEqual(told, [[null, null], [true, 0]]);
});

test('a connection that is lost in the middle of it goes on where it stood', async () => {
  const { clock, heard } = await at(0);
  const next = await reconnect(clock);
  [1, 2].forEach((offset) => next.say(publication(offset)));
  const last = await reconnect(clock);
  assert.deepEqual(last.asked('join')[0].since, { epoch: 'a', offset: 2 });
  [3, 4].forEach((offset) => last.say(publication(offset)));
  joined({ offset: 4, recovered: true });
  assert.deepEqual(heard, [1, 2, 3, 4]);
});

test('a server that cannot recover says so, and nothing missed is nothing lost', async () => {
  const { clock, all } = await at(3);
  await reconnect(clock);
  joined({ offset: 3, recovered: false }); // As of a channel without history.
  await reconnect(clock);
  joined({ offset: 5, recovered: false });
  await reconnect(clock);
  joined({ offset: 9, epoch: 'b', recovered: false });
  const told = all('joined').slice(1).map(({ recovered, missed }) => [recovered, missed]);
  assert.deepEqual(told, [[true, 0], [false, 2], [false, null]]);
});

test('after a new epoch the count goes on from there', async () => {
  const { clock, heard } = await at(30);
  const next = await reconnect(clock);
  joined({ offset: 2, epoch: 'b', recovered: false });
  next.say(publication(3));
  assert.deepEqual(heard, [3]);
  const last = await reconnect(clock);
  assert.deepEqual(last.asked('join')[0].since, { epoch: 'b', offset: 3 });
});

test('a server that took over may recover an older epoch', async () => {
  const { clock, all, heard } = await at(3);
  const next = await reconnect(clock);
  next.say(publication(4));
  joined({ offset: 4, epoch: 'b', recovered: true });
  next.say(publication(5));
  assert.deepEqual(heard, [4, 5]);
  assert.equal(all('joined').at(-1).missed, 0);
  await reconnect(clock);
  assert.deepEqual(Socket.last.asked('join')[0].since, { epoch: 'b', offset: 5 });
});

test('what comes twice is handed on once', async () => {
  const { client, socket, heard, all } = await at(0);
  [1, 2, 1, 2, 3, 3].forEach((offset) => socket.say(publication(offset)));
  assert.deepEqual(heard, [1, 2, 3]);
  assert.equal(all('message').length, 3);
  // Other channels, direct messages and those without a number have a count of their own.
  socket.say(publication(1, 'y'));
  socket.say({ type: 'message', direct: true, from: null, time: 0, body: 'psst' });
  const { offset, ...unnumbered } = publication(1);
  [1, 2].forEach(() => socket.say(unnumbered));
  assert.equal(all('message').length, 7);
  assert.deepEqual(client.position('x'), { epoch: 'a', offset: 3 });
  assert.equal(client.position('y'), null);
});

test('a gap is asked for, and what comes meanwhile waits its turn', async () => {
  const { socket, heard, all } = await at(0);
  socket.say(publication(1));
  socket.say({ type: 'gap', channel: 'x', from: 2, to: 4, epoch: 'a' });
  socket.say(publication(5));
  const [{ since, limit }] = socket.asked('history');
  assert.deepEqual([since, limit], [{ epoch: 'a', offset: 1 }, 3]);
  assert.deepEqual(heard, [1]);
  history({ publications: kept(2, 3), more: true });
  assert.deepEqual(socket.asked('history')[1].since, { epoch: 'a', offset: 3 });
  history({ publications: kept(4) });
  assert.deepEqual(heard, [1, 2, 3, 4, 5]);
  assert.ok(all('message').every((m) => m.type === 'message' && m.channel === 'x'));
  assert.equal(all('gap').length, 0);
  assert.equal(socket.asked('history').length, 2);
});

test('a skipped offset is a gap, too, unless own messages do not come back', async () => {
  const { socket, heard } = await at(0);
  socket.say(publication(3));
  assert.equal(socket.asked('history')[0].limit, 2);
  history({ publications: kept(1, 2) });
  assert.deepEqual(heard, [1, 2, 3]);
  const silent = await at(0, { echo: false });
  silent.socket.say(publication(3));
  assert.deepEqual(silent.heard, [3]);
  assert.equal(silent.socket.asked('history').length, 0);
  [2, 3, 4].forEach((offset) => silent.socket.say(publication(offset)));
  assert.deepEqual(silent.heard, [3, 4]);
});

test('what the history has not got is told, and all else is handed on', async () => {
  const { socket, heard, all } = await at(0);
  socket.say({ type: 'gap', channel: 'x', from: 1, to: 6, epoch: 'a' });
  socket.say(publication(7));
  history({ publications: kept(4, 6) });
  assert.deepEqual(heard, [4, 6, 7]);
  assert.deepEqual(all('gap'), [{ channel: 'x', from: 1, to: 3, epoch: 'a' },
    { channel: 'x', from: 5, to: 5, epoch: 'a' }]);
});

test('a channel without history is asked once a connection, and each gap is told', async () => {
  for (const code of ['no_history', 'unknown_type', 'denied']) {
    const { clock, socket, heard, all } = await at(0);
    socket.say({ type: 'gap', channel: 'x', from: 1, to: 2, epoch: 'a' });
    const { id } = socket.asked('history')[0];
    socket.say(publication(3));
    socket.say({ type: 'error', id, code, text: 'no' });
    socket.say({ type: 'gap', channel: 'x', from: 4, to: 4, epoch: 'a' });
    socket.say(publication(5));
    assert.deepEqual(heard, [3, 5]);
    assert.deepEqual(all('gap').map(({ from, to }) => [from, to]), [[1, 2], [4, 4]]);
    assert.equal(socket.asked('history').length, 1);
    const next = await reconnect(clock);
    joined({ offset: 5, recovered: true });
    next.say({ type: 'gap', channel: 'x', from: 6, to: 6, epoch: 'a' });
    assert.equal(next.asked('history').length, 1, code);
  }
});

test('a history that is busy is asked again, but not for ever', async () => {
  const { clock, socket, all } = await at(0, { pingInterval: 0, requestTimeout: Infinity });
  socket.say({ type: 'gap', channel: 'x', from: 1, to: 1, epoch: 'a' });
  for (let asked = 1; asked <= 5; asked += 1) {
    assert.equal(socket.asked('history').length, asked);
    const { id } = socket.asked('history').at(-1);
    socket.say({ type: 'error', id, code: 'rate', text: 'too fast' });
    await clock.pass(20_000);
  }
  assert.equal(socket.asked('history').length, 5);
  assert.equal(all('gap').length, 1);
});

test('a gap that a cut leaves open is recovered with the rest', async () => {
  const { clock, socket, heard } = await at(0);
  socket.say({ type: 'gap', channel: 'x', from: 1, to: 2, epoch: 'a' });
  socket.say(publication(3));
  const next = await reconnect(clock);
  assert.deepEqual(next.asked('join')[0].since, { epoch: 'a', offset: 0 });
  [1, 2, 3, 4].forEach((offset) => next.say(publication(offset)));
  joined({ offset: 4, recovered: true });
  assert.deepEqual(heard, [1, 2, 3, 4]);
});

test('a gap in what is brought again is asked for once the join is answered', async () => {
  const { clock, heard, all } = await at(0);
  const next = await reconnect(clock);
  next.say(publication(1));
  next.say({ type: 'gap', channel: 'x', from: 2, to: 3, epoch: 'a' });
  next.say(publication(4));
  assert.equal(next.asked('history').length, 0);
  joined({ offset: 4, recovered: true });
  history({ publications: kept(2, 3) });
  assert.deepEqual(heard, [1, 2, 3, 4]);
  assert.equal(all('gap').length, 0);
});

test('a channel of the address that counts anew is heard in its order', async () => {
  const { client, clock } = await connected();
  const heard = [];
  client.join('x', { onmessage: (m) => heard.push(m.offset) });
  joined({ offset: 1 });
  Socket.last.say(publication(2));
  const next = await reconnect(clock, { channel: 'x', epoch: 'b', offset: 1 });
  [2, 3, 4].forEach((offset) => next.say(publication(offset)));
  assert.deepEqual(heard, [2]);
  joined({ offset: 4, epoch: 'b', recovered: false });
  next.say(publication(5));
  assert.deepEqual(heard, [2, 2, 3, 4, 5]);
});

test('an address names its channel until there is something to recover', async () => {
  const { client, clock } = await at(0);
  client.close();
  Socket.all = [];
  const { setTimeout, clearTimeout } = clock;
  const url = 'ws://host/ws?channel=x%20y&user=ana%20b';
  const other = new Stentor(url, { WebSocket: Socket, setTimeout, clearTimeout });
  await settled();
  assert.equal(Socket.last.url, url);
  Socket.last.welcome({ channel: 'x y', epoch: 'a', offset: 7 });
  await reconnect(clock);
  assert.equal(Socket.last.url, url);
  other.join('x y');
  joined({ offset: 7 });
  await reconnect(clock);
  assert.equal(Socket.last.url, 'ws://host/ws?user=ana%20b');
  assert.deepEqual(Socket.last.asked('join')[0].since, { epoch: 'a', offset: 7 });
  assert.equal(other.url, url);
  other.close();
});

test('a channel that the token names is entered again where something was missed', async () => {
  const { clock, all, heard } = await at(3);
  const next = await reconnect(clock);
  next.say({ type: 'joined', channel: 'x', epoch: 'a', offset: 5 });
  next.say({ type: 'joined', channel: 'y', epoch: 'b', offset: 1 });
  assert.equal(all('joined').length, 2);
  const { own, channel, recovered } = all('joined')[1];
  assert.deepEqual([own, channel, recovered], [true, 'y', null]);
  next.say(publication(6));
  joined({ offset: 6, recovered: false });
  assert.deepEqual(next.sent.map(({ type }) => type), ['join', 'leave', 'join']);
  [4, 5, 6].forEach((offset) => next.say(publication(offset)));
  joined({ offset: 6, recovered: true });
  assert.deepEqual(heard, [4, 5, 6]);
  assert.equal(all('joined').at(-1).recovered, true);
  assert.equal(all('left').length, 0);
});

test('what waits is bounded: the rest is asked for later', async () => {
  const { socket, heard } = await at(0);
  socket.say({ type: 'gap', channel: 'x', from: 1, to: 1, epoch: 'a' });
  for (let offset = 2; offset <= 1_100; offset += 1) socket.say(publication(offset));
  history({ publications: kept(1) });
  assert.equal(heard.length, 1_025);
  assert.deepEqual(socket.asked('history')[1].since, { epoch: 'a', offset: 1_025 });
  history({ publications: kept(...Array.from({ length: 75 }, (_, n) => 1_026 + n)) });
  assert.deepEqual(heard, Array.from({ length: 1_100 }, (_, n) => n + 1));
});

test('gaps and histories that make no sense harm nothing', async () => {
  const { socket, heard, all } = await at(5);
  const gap = (fields) => socket.say({ type: 'gap', channel: 'x', epoch: 'a', ...fields });
  gap({ from: '7', to: 'x' });
  [{}, { from: 3, to: 1 }, { from: -1, to: 9 }, { from: 1, to: 5 }].forEach(gap);
  assert.equal(socket.asked('history').length, 0);
  gap({ from: 6, to: 6 });
  history({ publications: [null, 7, { offset: 'x' }, ...kept(2)] });
  gap({ from: 7, to: 7 });
  history({ publications: 'none' });
  gap({ from: 8, to: 8 });
  history({ publications: kept(8), epoch: 'b' });
  socket.say(publication(9));
  assert.deepEqual(heard, [9]);
  assert.deepEqual(all('gap').map(({ from, to }) => [from, to]), [[6, 6], [7, 7], [8, 8]]);
});

test('own publications that are acknowledged do not come back with the others', async () => {
  const { client, clock, socket, heard } = await at(0, { echo: false });
  client.publish('x', 'mine');
  socket.answer('publish', { channel: 'x', offset: 1, epoch: 'a' });
  client.publish('x', 'mine too');
  socket.answer('publish', { channel: 'x', offset: 3, epoch: 'a' });
  await settled();
  const next = await reconnect(clock);
  assert.deepEqual(next.asked('join')[0].since, { epoch: 'a', offset: 1 });
  [2, 3, 4].forEach((offset) => next.say(publication(offset)));
  joined({ offset: 4, recovered: true });
  assert.deepEqual(heard, [2, 4]);
});

test('a page that kept its position goes on from there', async () => {
  const { client, all } = await connected();
  const heard = [];
  client.join('x', { since: { epoch: 'a', offset: 7 }, onmessage: (m) => heard.push(m.offset) });
  assert.deepEqual(Socket.last.asked('join')[0].since, { epoch: 'a', offset: 7 });
  Socket.last.say(publication(8));
  joined({ offset: 8, recovered: true });
  assert.deepEqual(heard, [8]);
  assert.equal(all('joined')[0].recovered, true);
});

test('a join that comes too soon after another is sent again', async () => {
  const { client, clock, heard } = await at(3);
  const next = await reconnect(clock);
  const second = client.join('x');
  const [{ id: first }, { id, since }] = next.asked('join');
  assert.equal(since, undefined);
  next.say({ type: 'error', id, code: 'rate', text: 'a join of this channel is under way' });
  next.say(publication(4));
  next.say({ type: 'joined', id: first, channel: 'x', offset: 4, epoch: 'a', recovered: true });
  await clock.pass(1_000);
  assert.equal(next.asked('join').length, 3);
  joined({ offset: 4 });
  await second;
  assert.deepEqual(heard, [4]);
  // One that is refused with its position brings it along again.
  const last = await reconnect(clock);
  const [{ id: refused }] = last.asked('join');
  last.say({ type: 'error', id: refused, code: 'rate', text: 'too fast' });
  await clock.pass(1_000);
  assert.deepEqual(last.asked('join')[1].since, { epoch: 'a', offset: 4 });
});

test('a second join of a channel changes nothing of its order', async () => {
  const { client, socket, heard, all } = await at(3);
  client.join('x');
  assert.equal(socket.asked('join')[1].since, undefined);
  joined({ offset: 5 });
  [4, 5, 6].forEach((offset) => socket.say(publication(offset)));
  assert.deepEqual(heard, [4, 5, 6]);
  assert.deepEqual([all('joined')[1].missed, all('joined')[1].recovered], [0, true]);
});

test('a handler that leaves in the middle of what was held hears no more', async () => {
  const { client, all, socket } = await connected();
  const heard = [];
  const onmessage = ({ offset }) => heard.push(offset) && offset === 2 && client.leave('x');
  client.join('x', { onmessage });
  joined({ offset: 0 });
  [2, 3].forEach((offset) => socket.say(publication(offset)));
  history({ publications: kept(1) });
  assert.deepEqual([heard, all('message').length], [[1, 2], 2]);
});

test('history, presence and its counts are asked for and answered', async () => {
  const { client, socket } = await connected();
  const page = client.history('x', { since: { epoch: 'a', offset: 1 }, limit: 2, reverse: true });
  const { type, id, ...asked } = socket.asked('history')[0];
  assert.deepEqual(asked,
    { channel: 'x', since: { epoch: 'a', offset: 1 }, limit: 2, reverse: true });
  history({ publications: kept(3, 2), more: true });
  const { publications, more } = await page;
  assert.deepEqual([publications, more], [[publication(3), publication(2)], true]);
  client.history('x');
  assert.deepEqual(Object.keys(socket.asked('history')[1]), ['type', 'channel', 'id']);
  const here = client.presence('x');
  const clients = [{ client: 1, user: 'ana', info: { age: 4 } }];
  socket.say({ type: 'presence', id: socket.asked('presence')[0].id, channel: 'x', clients });
  assert.deepEqual((await here).clients, clients);
  const stats = client.presenceStats('x');
  const counts = { clients: 2, users: 1 };
  socket.say({ type: 'presence_stats', id: socket.asked('presence_stats')[0].id, ...counts });
  assert.equal((await stats).clients, 2);
  const none = refusal(client.history('y'));
  const { id: last } = socket.asked('history')[2];
  socket.say({ type: 'error', id: last, code: 'no_history', text: 'none' });
  assert.equal(await none, 'no_history');
});

test('a loop ends where the server sends its client away from the channel', async () => {
  const { client, clock, all, socket } = await connected();
  const loop = (async () => {
    for await (const m of client.messages('x')) void m;
  })();
  joined({ offset: 0 });
  socket.say({ type: 'left', channel: 'x' });
  await loop;
  assert.deepEqual(client.channels, []);
  assert.deepEqual(all('left').map(({ own, channel }) => [own, channel]), [[true, 'x']]);
  await reconnect(clock);
  assert.equal(Socket.last.asked('join').length, 0);
});
