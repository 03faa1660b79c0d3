//! Proves what becomes of requests: answered, refused, late, queued, dropped, lost or aborted.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Socket, connected, refusal, settled, start } from './fake.mjs';

test('an answer settles the request with its id, whatever the order', async () => {
  const { client, socket } = await connected();
  const first = client.publish('x', { deep: [1] });
  const second = client.direct('bo', 'hi');
  assert.deepEqual(socket.asked('publish')[0].body, { deep: [1] });
  socket.answer('direct', { clients: 2 });
  socket.answer('publish', { channel: 'x', offset: 7 });
  assert.equal((await first).offset, 7);
  assert.equal((await second).clients, 2);
});

test('an error with an id rejects, one without is an event', async () => {
  const { client, all, socket } = await connected();
  const refused = refusal(client.direct('nobody', 1));
  const { id } = socket.asked('direct')[0];
  socket.say({ type: 'error', code: 'unknown_user', text: 'no such user', id });
  assert.equal(await refused, 'unknown_user');
  socket.say({ type: 'error', code: 'rate', text: 'too fast' });
  assert.deepEqual(all('error').map((e) => e.code), ['rate']);
});

test('no answer in time rejects; the late answer is ignored', async () => {
  const { client, clock, socket } = await connected({ requestTimeout: 3_000 });
  const late = refusal(client.publish('x', 1));
  await clock.pass(3_000);
  assert.equal(await late, 'timeout');
  socket.answer('publish');
  const aborted = client.publish('x', 1, { signal: AbortSignal.abort() });
  assert.equal(await refusal(aborted), 'AbortError');
});

test('an option that is given as undefined is as if it were not given', async () => {
  const { client, clock } = await connected({ requestTimeout: undefined, maxQueued: undefined });
  const late = refusal(client.publish('x', 1, { timeout: undefined, ack: undefined }));
  await clock.pass(15_000);
  assert.equal(await late, 'timeout');
});

test('what waits for a connection is sent in order, after the joins', async () => {
  const { client } = start();
  client.join('x');
  const sent = [client.publish('x', 1), client.publish('x', 2)];
  assert.equal(client.queued, 2);
  await settled();
  const socket = Socket.last.welcome();
  assert.deepEqual(socket.sent.map((m) => m.body ?? m.type), ['join', 1, 2]);
  socket.sent.filter((m) => m.body).forEach(({ id }) => socket.say({ type: 'ack', id }));
  await Promise.all(sent);
  assert.equal(client.queued, 0);
});

test('the queue is bounded: the newest is refused and told', async () => {
  const { client, all } = start({ maxQueued: 2 });
  client.publish('x', 1);
  client.publish('x', 2);
  assert.equal(await refusal(client.publish('x', 3)), 'dropped');
  assert.deepEqual(all('dropped'), [{ type: 'publish', channel: 'x', body: 3 }]);
  assert.equal(Socket.last.welcome().asked('publish').length, 2);
});

test('a socket that holds too much unsent refuses more', async () => {
  const { client, socket } = await connected({ maxBufferedBytes: 1_000 });
  socket.bufferedAmount = 1_001;
  assert.equal(await refusal(client.publish('x', 1)), 'dropped');
  assert.equal(socket.sent.length, 0);
});

test('what was given up while queued is never sent', async () => {
  const { client, clock } = start({ requestTimeout: 1_000, connectTimeout: 5_000 });
  const abort = new AbortController();
  const aborted = refusal(client.publish('x', 1, { signal: abort.signal, timeout: 9_000 }));
  const late = refusal(client.publish('x', 2));
  abort.abort();
  await clock.pass(1_000);
  assert.deepEqual([await aborted, await late], ['AbortError', 'timeout']);
  assert.equal(Socket.last.welcome().sent.length, 0);
});

test('what was under way when the connection ended is lost and not repeated', async () => {
  const { client, clock, socket } = await connected();
  const lost = refusal(client.publish('x', 1));
  socket.end(1006);
  assert.equal(await lost, 'lost');
  const kept = client.publish('x', 2);
  await clock.pass(500);
  Socket.last.welcome();
  assert.deepEqual(Socket.last.asked('publish').map((m) => m.body), [2]);
  Socket.last.answer('publish', { offset: 2 });
  assert.equal((await kept).offset, 2);
});

test('what is asked of a socket that is closing waits for the next', async () => {
  const { client, clock, socket } = await connected({ maxQueued: 1 });
  socket.readyState = 2;
  const kept = client.publish('x', 1);
  assert.equal(await refusal(client.publish('x', 2)), 'dropped');
  socket.end(1001);
  await clock.pass(500);
  assert.equal(socket.sent.length, 0);
  Socket.last.welcome().answer('publish', { offset: 1 });
  assert.equal((await kept).offset, 1);
});

test('a disconnected client refuses at once, and close() refuses what waits', async () => {
  const { client, socket } = await connected();
  socket.end(1006);
  const waiting = refusal(client.publish('x', 1));
  client.close();
  assert.equal(await waiting, 'disconnected');
  assert.equal(await refusal(client.who('x')), 'disconnected');
});

test('without an ack there is no id, and the promise settles once it is sent', async () => {
  const { client, socket } = await connected();
  assert.equal(await client.publish('x', 1, { ack: false }), undefined);
  assert.deepEqual(socket.sent, [{ type: 'publish', channel: 'x', body: 1 }]);
});

test('ping tells the round trip', async () => {
  const { client, clock, socket } = await connected();
  const trip = client.ping();
  await clock.pass(42);
  socket.say({ type: 'pong', id: socket.asked('ping')[0].id });
  assert.equal(await trip, 42);
});

test('what is no JSON, or no object, harms nothing', async () => {
  const { client, all, socket } = await connected();
  const odd = ['{', 'null', '7', '[]', '"x"', '{"type":"later"}'];
  odd.forEach((data) => socket.onmessage({ data }));
  assert.deepEqual(all('error').map((e) => e.code), ['malformed']);
  assert.equal(client.state, 'connected');
});

test('what is larger than the server takes is refused and never sent', async () => {
  const { client, socket } = await connected({ messageBytes: 1_000 });
  const frame = { type: 'publish', channel: 'x', body: '', id: 1 };
  const room = 1_000 - Buffer.byteLength(JSON.stringify(frame));
  const fits = client.publish('x', 'x'.repeat(room));
  socket.answer('publish', { offset: 1 });
  assert.equal((await fits).offset, 1);
  for (const body of ['x'.repeat(room + 1), 'é'.repeat(room / 2 + 1), '語'.repeat(room / 3 + 1),
    '\n'.repeat(room / 2 + 1), { deep: ['x'.repeat(room)] }]) {
    assert.equal(await refusal(client.publish('x', body)), 'too_large');
  }
  const unasked = client.publish('x', 'x'.repeat(1_000), { ack: false });
  assert.equal(await refusal(unasked), 'too_large');
  assert.equal(await refusal(client.direct('bo', 'x'.repeat(1_000))), 'too_large');
  assert.equal(await refusal(client.join('x'.repeat(1_000))), 'too_large');
  assert.deepEqual(client.channels, []);
  assert.equal(socket.sent.length, 1);
  assert.equal(client.state, 'connected');
});

test('what was queued is held against the limit of the server that is found', async () => {
  const { client } = start();
  const sizes = [10, 900, 20].map((n) => client.publish('x', 'x'.repeat(n)));
  await settled();
  const socket = Socket.last.welcome({ message_bytes: 500 });
  assert.deepEqual(socket.asked('publish').map((m) => m.body.length), [10, 20]);
  assert.equal(await refusal(sizes[1]), 'too_large');
  assert.equal(client.state, 'connected');
});

test('bytes are a whole body, in base64 on the wire, and arrive as bytes', async () => {
  const { client, socket } = await connected();
  const bytes = new Uint8Array([0, 1, 2, 255]);
  const large = new Uint8Array(40_000).map((_, index) => index);
  const views = [bytes, bytes.buffer, new DataView(bytes.buffer), Buffer.from(bytes), large];
  for (const body of views) {
    client.publish('x', body);
    client.direct('bo', body);
  }
  const sent = socket.sent.splice(0);
  assert.equal(sent.length, 2 * views.length);
  sent.forEach(({ encoding, body }, index) => {
    const expected = index < 8 ? bytes : large;
    assert.equal(encoding, 'base64');
    assert.deepEqual(new Uint8Array(Buffer.from(body, 'base64')), expected);
  });
  client.publish('x', bytes.subarray(1, 3));
  assert.equal(socket.sent.at(-1).body, 'AQI=');
  const heard = [];
  client.on('message', ({ body, encoding }) => heard.push(body, encoding));
  socket.say({ type: 'message', direct: true, from: null, encoding: 'base64', body: 'AAEC/w==' });
  assert.deepEqual(heard, [bytes, undefined]);
  const past = client.history('x');
  const { id } = socket.sent.at(-1);
  const publications = [{ offset: 1, encoding: 'base64', body: '' }, { offset: 2, body: 'AQI=' }];
  socket.say({ type: 'history', id, channel: 'x', publications });
  const bodies = (await past).publications.map(({ body }) => body);
  assert.deepEqual(bodies, [new Uint8Array(), 'AQI=']);
  const errors = [];
  client.on('error', ({ code }) => errors.push(code));
  socket.say({ type: 'message', direct: true, from: null, encoding: 'base64', body: '*' });
  assert.deepEqual(errors, ['malformed']);
});

test('binary data is refused inside a body, never sent as numbers', async () => {
  const { client, socket } = await connected();
  const bytes = new Uint8Array([1, 2]);
  const binary = [new Blob(['x']), { deep: [{ bytes }] }, [new DataView(bytes.buffer)],
    [bytes.buffer], [new Float64Array(1)], { x: new SharedArrayBuffer(1) }];
  for (const body of binary) {
    for (const sent of [client.publish('x', body), client.direct('bo', body)]) {
      assert.match(await sent.catch((e) => `${e.name} ${e.message}`), /^TypeError .*binary/);
    }
  }
  assert.equal(await refusal(client.publish('x', 1n)), 'TypeError');
  assert.equal(socket.sent.length, 0);
  bytes.toJSON = () => 'AQI=';
  client.publish('x', { bytes, when: new Date(0) });
  assert.deepEqual(socket.sent[0].body, { bytes: 'AQI=', when: '1970-01-01T00:00:00.000Z' });
});

test('the library stays below 12 KiB compressed and asks for nothing else', async () => {
  const source = await readFile(new URL('../../src/web/stentor.js', import.meta.url));
  assert.ok(gzipSync(source, { level: 9 }).length < 12 << 10);
  assert.doesNotMatch(source.toString(), /^import|\bimport\(|\brequire\(/m);
});

test('a call of the backend resolves to its answer, and its refusal says what it said', async () => {
  const { client, socket } = await connected();
  const call = client.rpc('sum', [1, 2]);
  assert.deepEqual(socket.sent.at(-1), { type: 'rpc', method: 'sum', body: [1, 2], id: 1 });
  socket.say({ type: 'rpc', id: 1, body: { sum: 3 } });
  assert.deepEqual(await call, { sum: 3 });
  const bare = client.rpc('now');
  assert.deepEqual(socket.sent.at(-1), { type: 'rpc', method: 'now', id: 2 });
  const rejected = { code: 'rejected', text: 'closed today', status: 4200, temporary: true };
  socket.say({ type: 'error', id: 2, ...rejected });
  const error = await bare.catch((one) => one);
  assert.deepEqual([error.code, error.message, error.status, error.temporary],
    ['rejected', 'closed today', 4200, true]);
  await assert.rejects(client.rpc('bytes', { bytes: new Uint8Array(1) }), TypeError);
});
