// npm's pusher, the server library, against our API: every call that it has, and its errors.
import assert from 'node:assert/strict';
import Pusher from 'pusher';
import WebSocket from 'ws';

const [clients, admin] = process.argv.slice(2);

for (const address of [clients, admin]) {
  const [host, port] = address.split(':');
  const options = { appId: '1', key: 'app-key', secret: 'app-secret', host, port, useTLS: false };
  const pusher = new Pusher(options);

  const socket = new WebSocket(`ws://${clients}/ws?channel=shop:news`);
  const heard = [];
  const waiting = [];
  socket.on('message', (data) => {
    heard.push(data.toString());
    waiting.forEach((wake) => wake());
  });
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  const hears = async (count) => {
    while (heard.length < count) await new Promise((resolve) => waiting.push(resolve));
    return heard.splice(0, count);
  };

  assert.equal((await pusher.trigger('news', 'greeting', { text: 'hällo' })).status, 200);
  await pusher.trigger(['news', 'other'], 'greeting', 'a text');
  await pusher.triggerBatch([
    { channel: 'news', name: 'a', data: { n: 1 } },
    { channel: 'news', name: 'b', data: { n: 2 } },
  ]);
  assert.deepEqual(await hears(4), ['{"text":"hällo"}', 'a text', '{"n":1}', '{"n":2}']);

  const json = async (response) => (await response).json();
  const told = await json(pusher.trigger('news', 'e', {}, { info: 'subscription_count', socket_id: '1234.5678' }));
  assert.deepEqual(told, { channels: { news: { subscription_count: 1 } } });
  const batch = [{ channel: 'news', name: 'a', data: {}, info: 'subscription_count' }];
  assert.deepEqual(await json(pusher.triggerBatch(batch)), { batch: [{ subscription_count: 1 }] });
  const get = (path, params) => json(pusher.get({ path, params }));
  assert.deepEqual(await get('/channels', { info: 'subscription_count' }), { channels: { news: { subscription_count: 1 } } });
  assert.deepEqual(await get('/channels', { filter_by_prefix: 'presence-', info: 'user_count' }), { channels: {} });
  assert.deepEqual(await get('/channels/news', { info: 'subscription_count' }), { occupied: true, subscription_count: 1 });
  assert.deepEqual(await get('/channels/presence-a/users'), { users: [] });
  assert.equal((await pusher.terminateUserConnections('ana')).status, 200);
  assert.equal((await pusher.sendToUser('ana', 'e', { a: 1 })).status, 200);

  const encrypted = new Pusher({ ...options, encryptionMasterKeyBase64: Buffer.alloc(32, 7).toString('base64') });
  assert.equal((await encrypted.trigger('private-encrypted-a', 'e', { secret: 1 })).status, 200);

  const fails = async (promise, status) => {
    const error = await promise.then(() => null, (error) => error);
    assert.equal(error?.status, status, error?.message);
    assert.ok(JSON.parse(error.body).error.length > 10, error.body);
  };
  await fails(new Pusher({ ...options, secret: 'other' }).trigger('news', 'e', {}), 401);
  await fails(new Pusher({ ...options, key: 'other' }).trigger('news', 'e', {}), 401);
  await fails(new Pusher({ ...options, appId: '2' }).trigger('news', 'e', {}), 404);
  await fails(pusher.trigger('news', 'e', 'x'.repeat(10241)), 413);
  await fails(pusher.get({ path: '/channels', params: { info: 'user_count' } }), 400);
  await fails(pusher.get({ path: '/nothing' }), 404);
  socket.close();
}
