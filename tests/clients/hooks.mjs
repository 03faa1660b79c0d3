// npm centrifuge against a server that asks the application's backend: connect, subscribe, publish and rpc, and the
// backend's own errors and close codes. The test's backend (tests/e2e/hooks.rs) lets nobody in without data.who.
// Usage: node hooks.mjs ws://ADDRESS
import assert from 'node:assert/strict';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';

const [url] = process.argv.slice(2);
setTimeout(() => { console.error('no end in 30 s'); process.exit(1); }, 30_000).unref();

const make = (options) => new Centrifuge(`${url}/connection/websocket`, {
  websocket: WebSocket, minReconnectDelay: 20, maxReconnectDelay: 200, ...options,
});
const event = (emitter, name) => new Promise((resolve) => { emitter.once(name, resolve); });

const nobody = make({});
const away = event(nobody, 'disconnected');
nobody.connect();
const { code, reason } = await away;
assert.equal(code, 1001);
assert.equal(reason, 'who are you?');

const client = make({ data: { who: 'ana' }, name: 'shop', version: '7' });
const connected = event(client, 'connected');
client.connect();
assert.deepEqual((await connected).data, { hello: 'ana', name: 'shop', version: '7' });

const sub = client.newSubscription('chat:a', { data: { n: 1 } });
const subscribed = event(sub, 'subscribed');
sub.subscribe();
assert.deepEqual((await subscribed).data, { topic: 'hooks', got: { n: 1 } });
const { clients } = await sub.presence();
const [me] = Object.values(clients);
assert.equal(me.user, 'ana');
assert.deepEqual([me.connInfo, me.chanInfo], [{ name: 'Ana' }, { colour: 'red' }]);

const secret = client.newSubscription('chat:secret');
const unsubscribed = event(secret, 'unsubscribed');
secret.subscribe();
assert.equal((await unsubscribed).code, 403);

const heard = [];
sub.on('publication', ({ data, tags }) => heard.push([data, tags]));
await assert.rejects(sub.publish('bad'), { code: 7, message: 'bad' });
await sub.publish('rude');
await sub.publish({ a: [1] });
for (const end = performance.now() + 20_000; heard.length < 2;) {
  assert.ok(performance.now() < end, 'never: both are heard');
  await new Promise((resolve) => { setTimeout(resolve, 5); });
}
assert.deepEqual(heard, [['polite', { by: 'backend' }], [{ a: [1] }, undefined]]);

assert.deepEqual((await client.rpc('sum', [1, 2])).data, { method: 'sum', got: [1, 2] });

const banned = client.newSubscription('chat:banned');
const gone = event(client, 'disconnected');
banned.subscribe();
const last = await gone;
assert.equal(last.code, 4700);
assert.equal(last.reason, 'banned');
