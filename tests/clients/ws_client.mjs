// npm's ws against the plain endpoint, and stentor.js on top of it against the JSON endpoint.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import WebSocket from 'ws';
import { Stentor } from '../../src/web/stentor.js';

const url = process.argv[2];
setTimeout(() => { console.error('no end in 30 s'); process.exit(1); }, 30_000).unref();

async function plain() {
  const [a, b] = [new WebSocket(`${url}/ws`), new WebSocket(`${url}/ws`)];
  await Promise.all([once(a, 'open'), once(b, 'open')]);
  for (const sent of ['hello', Buffer.from([0, 1, 255])]) {
    const heard = [once(a, 'message'), once(b, 'message')];
    a.send(sent);
    for (const [data, isBinary] of await Promise.all(heard)) {
      assert.equal(isBinary, typeof sent !== 'string');
      assert.deepEqual(data, Buffer.from(sent));
    }
  }
  // The server pings quiet clients, and ws answers by itself: both are still there.
  await once(a, 'ping');
  await once(b, 'ping');
  assert.equal(a.readyState, WebSocket.OPEN);
  a.close(1000);
  const [code] = await once(a, 'close');
  assert.equal(code, 1000);
  b.terminate();
}

async function library() {
  const make = (user) => new Stentor(`${url}/ws`, { user, WebSocket });
  const [ann, bob] = [make('ann'), make('bob')];
  const heard = new Promise((resolve) => bob.on('message', resolve));
  await bob.join('room');
  const ack = await ann.publish('room', { text: 'hi' });
  assert.equal(ack.offset, 1);
  const event = await heard;
  const message = event.detail ?? event;
  assert.deepEqual(message.body, { text: 'hi' });
  const who = await bob.who('room');
  assert.deepEqual(who.users, ['bob']);
  ann.close();
  bob.close();
}

/** Handlers that throw: with ws such a socket would be deaf from then on, or the process would end. */
async function throwing() {
  const reported = [];
  const reportError = (error) => reported.push(error.message);
  const client = new Stentor(`${url}/ws`, { WebSocket, reportError });
  const heard = [];
  await client.join('bugs', { onmessage() { throw new Error('sync'); } });
  await client.join('bugs', { async onmessage() { throw new Error('async'); } });
  await client.join('bugs', { onmessage: ({ body }) => heard.push(body) });
  for (const body of [1, 2]) await client.publish('bugs', body);
  // A message may come behind the acknowledgement of its publication, and is handled later still.
  while (heard.length < 2 || reported.length < 4) await pause(5);
  assert.deepEqual(heard, [1, 2]);
  assert.deepEqual(reported.sort(), ['async', 'async', 'sync', 'sync']);
  client.close();
}

/** The library counts as the server does: the largest message that is taken, and one byte more. */
async function sizes() {
  const client = new Stentor(new URL('/ws', url.replace('ws', 'http')), { WebSocket });
  const closes = [];
  client.on('close', (close) => closes.push(close.code));
  await client.join('large');
  const { message_bytes: max } = await new Promise((resolve) => {
    const other = new Stentor(`${url}/ws`, { WebSocket });
    other.on('welcome', (welcome) => resolve(welcome, other.close()));
  });
  for (const letter of ['x', 'é', '語', '😀']) {
    const bytes = Buffer.byteLength(letter);
    const sent = (count) => client.publish('large', letter.repeat(count), { ack: false });
    const frame = { type: 'publish', channel: 'large', body: '' };
    const room = Math.floor((max - Buffer.byteLength(JSON.stringify(frame))) / bytes);
    await sent(room);
    assert.equal(await sent(room + 1).catch((error) => error.code), 'too_large');
  }
  assert.equal((await client.publish('large', 'small')).offset, 5);
  assert.deepEqual(closes, []);

  // A message that the server, not the library, finds too large costs a connection, not the client.
  const joined = new Promise((resolve) => client.on('joined', resolve));
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function large() {
    WebSocket.prototype.send = send;
    return send.call(this, 'x'.repeat(max + 1));
  };
  const lost = await client.publish('large', 'replaced on its way').catch((error) => error);
  assert.equal(lost.code, 'lost');
  assert.match(lost.message, /1009/);
  assert.equal((await joined).missed, 0);
  assert.equal((await client.publish('large', 'back')).offset, 6);
  client.close();
}

await plain();
await library();
await throwing();
await sizes();
process.exit(0);
