//! Proves joins, rejoins after a reconnect, presence, and iteration over a channel.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Socket, connected, refusal, settled } from './fake.mjs';

const publication = (offset, channel = 'x') =>
  ({ type: 'message', channel, offset, from: null, time: 0, body: `m${offset}` });

const grant = (socket, offset = 0) => socket.asked('join')
  .forEach(({ id, channel }) => socket.say({ type: 'joined', id, channel, offset }));

test('every channel is joined again after a reconnect, with its presence', async () => {
  const { client, clock, all, socket } = await connected();
  const heard = [];
  const onmessage = (m) => heard.push(m.offset);
  const joins = [client.join('x', { presence: true, onmessage }), client.join('y')];
  grant(socket, 3);
  assert.equal((await Promise.all(joins))[0].offset, 3);
  socket.say(publication(4));
  socket.end(1006);
  await clock.pass(500);
  Socket.last.welcome();
  assert.deepEqual(Socket.last.asked('join').map(({ channel, presence }) => [channel, presence]),
    [['x', true], ['y', false]]);
  grant(Socket.last, 9);
  Socket.last.say(publication(10));
  assert.deepEqual(heard, [4, 10]);
  assert.deepEqual(all('joined').map((j) => j.missed), [null, null, 5, 6]);
});

test('a server that counts anew leaves what was missed unknown', async () => {
  const { client, clock, all, socket } = await connected();
  client.join('x');
  grant(socket, 8);
  socket.end(1006);
  await clock.pass(500);
  grant(Socket.last.welcome(), 2);
  assert.equal(all('joined').at(-1).missed, null);
});

test('the epoch decides whether the server counts anew', async () => {
  const cases = [ // Epochs before and after the reconnect, the offset after it, what was missed.
    ['a', 'a', 9, 6], ['a', 'a', 3, 0], ['a', 'b', 9, null], ['a', 'b', 0, null],
    ['a', undefined, 9, null], [undefined, 'a', 9, null], [undefined, undefined, 9, 6],
  ];
  for (const [before, after, offset, missed] of cases) {
    const { client, clock, all, socket } = await connected();
    const joined = (epoch, at) => {
      const { id, channel } = Socket.last.asked('join')[0];
      Socket.last.say({ type: 'joined', id, channel, offset: at, epoch });
    };
    client.join('x');
    joined(before, 2);
    socket.say(publication(3));
    socket.end(1006);
    await clock.pass(500);
    Socket.last.welcome();
    joined(after, offset);
    assert.deepEqual(all('joined').map((j) => j.missed), [null, missed], `${before} ${after}`);
    assert.equal(all('joined')[1].epoch, after);
    Socket.last.end(1006);
    await clock.pass(1_000);
    Socket.last.welcome();
    joined(after, offset + 2);
    assert.equal(all('joined')[2].missed, 2);
  }
});

test('publications before the join is answered again were not missed', async () => {
  const { client, clock, all, socket } = await connected(); // As with ?channel=x in the address.
  const heard = [];
  client.join('x', { onmessage: (m) => heard.push(m.offset) });
  grant(socket, 3);
  socket.say(publication(4));
  socket.end(1006);
  await clock.pass(500);
  Socket.last.welcome();
  [8, 9].forEach((offset) => Socket.last.say(publication(offset)));
  grant(Socket.last, 9);
  assert.deepEqual(heard, [4, 8, 9]);
  assert.equal(all('joined').at(-1).missed, 3);
  client.join('x');
  grant(Socket.last, 9);
  assert.equal(all('joined').at(-1).missed, 0);
});

test('a join that the connection did not live to answer is answered after the next', async () => {
  const { client, clock, socket } = await connected();
  const join = client.join('x');
  socket.end(1006);
  await clock.pass(500);
  grant(Socket.last.welcome(), 5);
  assert.equal((await join).offset, 5);
});

test('a refused join rejects and is not repeated', async () => {
  const { client, clock, socket } = await connected();
  const join = refusal(client.join('\u0000'));
  socket.say({ type: 'error', code: 'bad_name', text: 'no', id: socket.asked('join')[0].id });
  assert.equal(await join, 'bad_name');
  assert.deepEqual(client.channels, []);
  socket.end(1006);
  await clock.pass(500);
  assert.equal(Socket.last.welcome().asked('join').length, 0);
});

test('a left channel stays left, also when it was left while away', async () => {
  const { client, clock, socket } = await connected();
  client.join('x');
  client.join('y');
  grant(socket);
  const left = client.leave('x');
  socket.say({ type: 'left', id: socket.asked('leave')[0].id, channel: 'x' });
  assert.equal((await left).channel, 'x');
  socket.end(1006);
  await client.leave('y');
  await clock.pass(500);
  assert.equal(Socket.last.welcome().asked('join').length, 0);
});

test('an aborted signal leaves the channel', async () => {
  const { client, socket } = await connected();
  const abort = new AbortController();
  client.join('x', { signal: abort.signal });
  grant(socket);
  abort.abort();
  assert.equal(socket.asked('leave')[0].channel, 'x');
});

test('others who come and go are events, and direct messages are no publications', async () => {
  const { client, all, socket } = await connected();
  const heard = [];
  client.join('x', { presence: true, onmessage: (m) => heard.push(m) });
  grant(socket);
  socket.say({ type: 'joined', channel: 'x', client: 9, user: 'bo' });
  socket.say({ type: 'left', channel: 'x', client: 9, user: 'bo' });
  socket.say({ type: 'crowd', channel: 'x', count: 1200, named: false });
  const from = { client: 9, user: 'bo' };
  socket.say({ type: 'message', direct: true, from, time: 0, body: 'psst' });
  assert.deepEqual([...all('joined'), ...all('left')].map((p) => [p.own, p.user]),
    [[true, undefined], [false, 'bo'], [false, 'bo']]);
  assert.deepEqual(all('crowd').map((c) => [c.channel, c.count, c.named]), [['x', 1200, false]]);
  assert.equal(heard.length, 0);
  assert.equal(all('message')[0].body, 'psst');
});

test('a loop joins its channel, keeps what comes meanwhile, and leaves at its end', async () => {
  const { client, socket } = await connected();
  const heard = [];
  const loop = (async () => {
    for await (const m of client.messages('x')) {
      heard.push(m.offset);
      if (m.offset === 3) break;
    }
  })();
  grant(socket);
  [1, 2, 3, 4].forEach((n) => socket.say(publication(n)));
  await loop;
  assert.deepEqual(heard, [1, 2, 3]);
  assert.equal(socket.asked('leave').length, 1);
});

test('a loop goes on over a reconnect and ends with close() or an aborted signal', async () => {
  const { client, clock, socket } = await connected();
  const heard = [];
  const read = async (messages) => {
    for await (const m of messages) heard.push(m.offset);
  };
  const abort = new AbortController();
  const loops = [read(client.messages('x')), read(client.messages('y', { signal: abort.signal }))];
  grant(socket);
  socket.say(publication(1));
  await settled();
  socket.end(1006);
  await clock.pass(500);
  grant(Socket.last.welcome(), 1);
  Socket.last.say(publication(2));
  abort.abort();
  await loops[1];
  await settled();
  client.close();
  await loops[0];
  assert.deepEqual(heard, [1, 2]);
});

test('a loop over a channel that is refused throws', async () => {
  const { client, socket } = await connected();
  const next = refusal(client.messages('bad').next());
  socket.say({ type: 'error', code: 'bad_name', text: 'no', id: socket.asked('join')[0].id });
  assert.equal(await next, 'bad_name');
});

test('a reader that falls behind keeps the newest', async () => {
  const { client, all, socket } = await connected();
  const messages = client.messages('x', { maxBuffered: 2 });
  grant(socket);
  [1, 2, 3].forEach((n) => socket.say(publication(n)));
  assert.equal((await messages.next()).value.offset, 2);
  assert.deepEqual(all('dropped').map((m) => m.offset), [1]);
});

test('a loop over a channel that was joined before does not leave it', async () => {
  const { client, socket } = await connected();
  client.join('x');
  grant(socket);
  await client.messages('x').return();
  assert.deepEqual(client.channels, ['x']);
  assert.equal(socket.asked('leave').length, 0);
});
