// npm's pusher and pusher-js together, unmodified: the server library signs for the clients, sends them events, asks who is there, ends them,
// and is told by webhooks.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import Server from 'pusher';
import Client from 'pusher-js';
import nacl from 'tweetnacl';

const [host, port] = process.argv[2].split(':');
const hookPort = Number(process.argv[3]);
setTimeout(() => { console.error('no end in 60 s'); process.exit(1); }, 60_000).unref();

const [KEY, SECRET] = ['app-key', 'app-secret'];
const encryptionMasterKeyBase64 = Buffer.alloc(32, 7).toString('base64');
const server = new Server({ appId: '1', key: KEY, secret: SECRET, host, port, useTLS: false, encryptionMasterKeyBase64 });

async function until(is, what) {
  for (let left = 2000; !is(); left -= 1) {
    assert.ok(left > 0, `never: ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** All events of webhooks, whose signatures the library has checked. */
const told = [];
const hooks = createServer((request, response) => {
  let body = '';
  request.on('data', (data) => { body += data; });
  request.on('end', () => {
    const webhook = server.webhook({ headers: request.headers, rawBody: body });
    assert.ok(webhook.isValid());
    told.push(...webhook.getEvents());
    response.end();
  });
}).listen(hookPort, '127.0.0.1');
await once(hooks, 'listening');
const isTold = (wanted) => until(
  () => told.some((event) => Object.entries(wanted).every(([name, value]) => event[name] === value)),
  () => `${JSON.stringify(wanted)} in ${JSON.stringify(told)}`,
);

function connect(user) {
  return new Client(KEY, {
    cluster: '', wsHost: host, wsPort: Number(port), nacl, forceTLS: false, enabledTransports: ['ws'], disableStats: true,
    channelAuthorization: {
      customHandler: ({ socketId, channelName }, done) => {
        const data = channelName.startsWith('presence-') ? { user_id: user, user_info: { name: user } } : undefined;
        done(null, server.authorizeChannel(socketId, channelName, data));
      },
    },
    userAuthentication: { customHandler: ({ socketId }, done) => done(null, server.authenticateUser(socketId, { id: user })) },
  });
}

/** Subscribes, and returns the channel with all that it hears. */
async function join(client, name) {
  const channel = client.subscribe(name);
  const heard = [];
  channel.bind_global((event, data) => { if (!event.startsWith('pusher')) heard.push([event, data]); });
  await until(() => channel.subscribed, () => `${name} is joined`);
  return { channel, heard };
}

const connected = (client) => until(() => client.connection.state === 'connected', () => `connected: ${client.connection.state}`);
const json = async (response) => (await response).json();
const get = (path, params) => json(server.get({ path, params }));

// More clients than one shard would have.
const clients = ['ann', 'ann', 'bob', 'cid', 'dan', 'eve', 'fay', 'gil'].map(connect);
await Promise.all(clients.map(connected));
const rooms = await Promise.all(clients.map((client) => join(client, 'presence-room')));

// An event is heard by all but the client that it came from, on whichever shard each is.
for (const [at, client] of clients.entries()) {
  await server.trigger('presence-room', 'said', { at }, { socket_id: client.connection.socket_id });
}
await server.trigger('presence-room', 'end', 'a text');
for (const [at, { heard }] of rooms.entries()) {
  await until(() => heard.length === clients.length, () => `${at} hears all: ${JSON.stringify(heard)}`);
  const others = [...clients.keys()].filter((other) => other !== at).map((other) => ['said', { at: other }]);
  assert.deepEqual(heard, [...others, ['end', 'a text']]);
}

// Users are counted once, however many clients each has.
assert.deepEqual(await get('/channels/presence-room', { info: 'user_count,subscription_count' }), {
  occupied: true, user_count: 7, subscription_count: 8,
});
const users = await get('/channels/presence-room/users');
assert.deepEqual(users.users.map(({ id }) => id).sort(), ['ann', 'bob', 'cid', 'dan', 'eve', 'fay', 'gil']);
assert.deepEqual(await get('/channels', { filter_by_prefix: 'presence-', info: 'user_count' }), { channels: { 'presence-room': { user_count: 7 } } });
assert.deepEqual(await get('/connections'), { connections: 8 });

// Encrypted channels, whose events only the clients can read.
const secret = await join(clients[0], 'private-encrypted-a');
await server.trigger('private-encrypted-a', 'whisper', { text: 'hidden' });
await until(() => secret.heard.length === 1, () => 'the secret is heard');
assert.deepEqual(secret.heard, [['whisper', { text: 'hidden' }]]);

// A cache channel has nothing at first, and then its last event for whoever comes.
await join(clients[0], 'cache-a');
await server.trigger('cache-a', 'state', { n: 1 });
const { heard: cached } = await join(clients[1], 'cache-a');
await until(() => cached.length === 1, () => 'the last event is heard');
await isTold({ name: 'subscription_count', channel: 'cache-a', subscription_count: 2 });
assert.equal((await get('/channels/cache-a', { info: 'cache' })).cache.data, '{"n":1}');

// A client event is heard by the others.
rooms[2].channel.trigger('client-move', { x: 1 });
await until(() => rooms[3].heard.length === clients.length + 1, () => 'the client event is heard');

// A user that has signed in is told by name, and ended by name.
const [, ann] = clients;
ann.signin();
const own = [];
ann.user.bind('note', (data) => own.push(data));
await until(() => ann.user.user_data, () => 'ann is signed in');
await until(() => ann.allChannels().length >= 2 || ann.user.serverToUserChannel?.subscribed, () => 'her own channel is joined');
await until(() => ann.user.serverToUserChannel.subscribed, () => 'her own channel is joined');
await server.sendToUser('ann', 'note', { a: 1 });
await until(() => own.length === 1, () => 'the note is heard');
let code;
ann.connection.bind('error', ({ data, error }) => { code ??= data?.code ?? error?.data?.code; });
await server.terminateUserConnections('ann');
await until(() => code === 4009, () => `ended with 4009: ${code}`);

// What the backend was told meanwhile.
await isTold({ name: 'channel_occupied', channel: 'presence-room' });
for (const user_id of ['ann', 'bob', 'gil']) await isTold({ name: 'member_added', channel: 'presence-room', user_id });
assert.equal(told.filter(({ name, user_id }) => name === 'member_added' && user_id === 'ann').length, 1);
await isTold({ name: 'cache_miss', channel: 'cache-a' });
await isTold({
  name: 'client_event', channel: 'presence-room', event: 'client-move', data: '{"x":1}',
  socket_id: clients[2].connection.socket_id, user_id: 'bob',
});
clients[2].disconnect();
await isTold({ name: 'member_removed', channel: 'presence-room', user_id: 'bob' });
clients.forEach((client) => client.disconnect());
await isTold({ name: 'channel_vacated', channel: 'presence-room' });
assert.ok(!told.some(({ name, user_id }) => name === 'member_added' && user_id === undefined));
process.exit(0);
