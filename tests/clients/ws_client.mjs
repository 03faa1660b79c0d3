// npm's ws against the plain endpoint, and stentor.js on top of it against the JSON endpoint.
import assert from 'node:assert/strict';
import { once } from 'node:events';
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

await plain();
await library();
process.exit(0);
