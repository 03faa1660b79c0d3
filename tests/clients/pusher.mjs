// npm's pusher-js and laravel-echo, unmodified, against two shards: channels of every kind, client events, users and errors.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import Echo from 'laravel-echo';
import Pusher from 'pusher-js';
import nacl from 'tweetnacl';

const [url, admin] = process.argv.slice(2);
const [KEY, SECRET] = ['key', 'secret'];
const { hostname, port } = new URL(url);
setTimeout(() => { console.error('no end in 60 s'); process.exit(1); }, 60_000).unref();

/** The key of encrypted channels, which the server never sees. */
const SHARED = new Uint8Array(32).fill(7);
const base64 = (bytes) => Buffer.from(bytes).toString('base64');

const sign = (text) => `${KEY}:${createHmac('sha256', SECRET).update(text).digest('hex')}`;

/** Signs for a channel, and for a user in a presence channel. */
const authorize = (user, info = {}) => ({ socketId, channelName }, done) => {
  const shared_secret = channelName.startsWith('private-encrypted-') ? base64(SHARED) : undefined;
  if (!channelName.startsWith('presence-')) return done(null, { auth: sign(`${socketId}:${channelName}`), shared_secret });
  const channel_data = JSON.stringify({ user_id: user, user_info: info });
  return done(null, { auth: sign(`${socketId}:${channelName}:${channel_data}`), channel_data });
};

const authenticate = (user, watchlist) => ({ socketId }, done) => {
  const user_data = JSON.stringify({ id: user, watchlist });
  done(null, { auth: sign(`${socketId}::user::${user_data}`), user_data });
};

const opened = [];
function connect(user = 'ann', more = {}, info = {}) {
  const client = new Pusher(more.key ?? KEY, {
    cluster: '', wsHost: hostname, wsPort: Number(port), nacl, forceTLS: false, enabledTransports: ['ws'], disableStats: true,
    channelAuthorization: { customHandler: authorize(user, info) },
    userAuthentication: { customHandler: authenticate(user, more.watchlist) },
    ...more,
  });
  opened.push(client);
  return client;
}

/** The next event of that name. */
const next = (emitter, name) => new Promise((resolve) => {
  const take = (data, meta) => { emitter.unbind(name, take); resolve({ data, meta }); };
  emitter.bind(name, take);
});

const connected = (client) => client.connection.state === 'connected' ? Promise.resolve() : next(client.connection, 'connected');
const joined = (channel) => channel.subscribed ? Promise.resolve() : next(channel, 'pusher:subscription_succeeded');

/** All events of a channel from now on, as [name, data]. */
function listen(channel) {
  const heard = [];
  channel.bind_global((name, data) => heard.push([name, data]));
  return heard;
}

async function until(is, what) {
  for (let left = 1000; !is(); left -= 1) {
    assert.ok(left > 0, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Publishes with an event name, through the API of the server itself. */
async function publish(channel, event, data) {
  const body = JSON.stringify({ channel: `app-1:${channel}`, data, tags: { event } });
  const answer = await fetch(`${admin}/api/publish`, { method: 'POST', body, headers: { 'Content-Type': 'application/json' } });
  const told = await answer.json();
  assert.ok(told.result, JSON.stringify(told));
}

async function channels() {
  const [ann, bob] = [connect('ann'), connect('bob')];
  await connected(ann);
  assert.match(ann.connection.socket_id, /^\d+\.\d+$/);
  const [atAnn, atBob] = [ann, bob].map((client) => client.subscribe('news'));
  await Promise.all([joined(atAnn), joined(atBob)]);
  const heard = [atAnn, atBob].map((channel) => next(channel, 'order'));
  await publish('news', 'order', { id: 7, text: 'é "x"' });
  for (const { data } of await Promise.all(heard)) assert.deepEqual(data, { id: 7, text: 'é "x"' });
  // A channel that is left is heard no more, and one that is left and joined in a row is heard.
  const silent = listen(atBob);
  bob.unsubscribe('news');
  const again = [bob.subscribe('news')];
  bob.unsubscribe('news');
  again.push(bob.subscribe('news'));
  await joined(again[1]);
  const last = next(again[1], 'order');
  await publish('news', 'order', 2);
  assert.equal((await last).data, 2);
  bob.unsubscribe('news');
  const other = bob.subscribe('other');
  await joined(other);
  const before = silent.length;
  await publish('news', 'order', 3);
  const end = next(other, 'end');
  await publish('other', 'end', null);
  await end;
  assert.equal(silent.length, before);
}

async function clientEvents() {
  const [ann, bob] = [connect('ann'), connect('bob')];
  const [atAnn, atBob] = [ann, bob].map((client) => client.subscribe('private-room'));
  await Promise.all([joined(atAnn), joined(atBob)]);
  const echo = listen(atAnn);
  for (const data of [{ a: [1] }, 'text', 7, null]) {
    const heard = next(atBob, 'client-says');
    assert.ok(atAnn.trigger('client-says', data));
    const { data: told, meta } = await heard;
    assert.deepEqual(told, data);
    assert.equal(meta?.user_id, undefined);
  }
  const back = next(atAnn, 'client-says');
  atBob.trigger('client-says', 'back');
  assert.equal((await back).data, 'back');
  assert.deepEqual(echo, [['client-says', 'back']], 'nobody hears its own event');
  // Where they are not allowed the client is told, and stays.
  for (const channel of ['news', 'private-encrypted-x']) {
    const refused = next(ann.connection, 'error');
    ann.send_event('client-says', {}, channel);
    assert.equal((await refused).data.data.code, 4301, channel);
  }
  const tooLarge = next(ann.connection, 'error');
  atAnn.trigger('client-says', 'x'.repeat(11_000));
  assert.match((await tooLarge).data.data.message, /10240 bytes/);
  const tooMany = next(ann.connection, 'error');
  for (let i = 0; i < 12; i += 1) atAnn.trigger('client-fast', i);
  assert.match((await tooMany).data.data.message, /more than 10 events/);
  assert.equal(ann.connection.state, 'connected');
}

async function presence() {
  const name = 'presence-room';
  const ann = connect('ann', {}, { name: 'Ann' });
  const atAnn = ann.subscribe(name);
  await joined(atAnn);
  assert.deepEqual([atAnn.members.count, atAnn.members.me.id], [1, 'ann']);
  const added = next(atAnn, 'pusher:member_added');
  const bobs = [];
  for (let tab = 0; tab < 4; tab += 1) {
    const bob = connect('bob', {}, { name: 'Bob' });
    bobs.push(bob);
    const atBob = bob.subscribe(name);
    await joined(atBob);
    const members = {};
    atBob.members.each(({ id, info }) => { members[id] = info; });
    assert.deepEqual([atBob.members.count, members], [2, { ann: { name: 'Ann' }, bob: { name: 'Bob' } }]);
  }
  assert.deepEqual((await added).data, { id: 'bob', info: { name: 'Bob' } });
  const heard = listen(atAnn);
  const says = next(atAnn, 'client-says');
  bobs[0].channel(name).trigger('client-says', { x: 1 });
  assert.equal((await says).meta.user_id, 'bob');
  const gone = next(atAnn, 'pusher:member_removed');
  for (const bob of bobs) bob.disconnect();
  assert.equal((await gone).data.id, 'bob');
  assert.equal(atAnn.members.count, 1);
  const news = heard.map(([event]) => event).filter((event) => event.startsWith('pusher:'));
  assert.deepEqual(news, ['pusher:member_removed'], 'each user comes and goes once');
}

async function cache() {
  const [ann, bob] = [connect('ann'), connect('bob')];
  for (const name of ['cache-state', 'private-cache-state', 'presence-cache-state']) {
    const atAnn = ann.subscribe(name);
    await next(atAnn, 'pusher:cache_miss');
    await publish(name, 'state', { of: name });
    if (name === 'private-cache-state') atAnn.trigger('client-not-kept', {});
    const atBob = bob.subscribe(name);
    const miss = listen(atBob);
    const told = await next(atBob, 'state');
    assert.deepEqual(told.data, { of: name });
    assert.ok(atBob.subscribed);
    assert.ok(miss.every(([event]) => event !== 'pusher:cache_miss'));
  }
}

async function encrypted() {
  const [ann, bob] = [connect('ann'), connect('bob')];
  const heard = [];
  for (const client of [ann, bob]) {
    const channel = client.subscribe('private-encrypted-cache-room');
    await joined(channel);
    heard.push(next(channel, 'secret'));
  }
  const nonce = new Uint8Array(24).fill(9);
  const ciphertext = nacl.secretbox(Buffer.from(JSON.stringify({ a: 1 })), nonce, SHARED);
  await publish('private-encrypted-cache-room', 'secret', { nonce: base64(nonce), ciphertext: base64(ciphertext) });
  for (const { data } of await Promise.all(heard)) assert.deepEqual(data, { a: 1 });
  const late = connect('cid').subscribe('private-encrypted-cache-room');
  assert.deepEqual((await next(late, 'secret')).data, { a: 1 });
}

async function users() {
  const [ann, eve] = [connect('ann'), connect('eve')];
  const heard = new Promise((resolve) => ann.user.bind('greeting', resolve));
  ann.signin();
  await until(() => ann.user.user_data?.id === 'ann', 'signed in');
  await connected(eve);
  const foreign = next(eve, 'pusher:subscription_error');
  eve.send_event('pusher:subscribe', { channel: '#server-to-user-ann', auth: '' });
  assert.equal((await foreign).data.status, 401);
  const told = setInterval(() => publish('#server-to-user-ann', 'greeting', 'hi'), 100);
  assert.equal(await heard, 'hi');
  clearInterval(told);
}

async function refusals() {
  const wrong = connect('ann', {
    channelAuthorization: { customHandler: (_, done) => done(null, { auth: `${KEY}:${'0'.repeat(64)}` }) },
  });
  const refused = await next(wrong.subscribe('private-room'), 'pusher:subscription_error');
  assert.deepEqual([refused.data.type, refused.data.status], ['AuthError', 401]);
  assert.equal(wrong.connection.state, 'connected');
  const badName = await next(wrong.subscribe('a b'), 'pusher:subscription_error');
  assert.equal(badName.data.status, 400);
  const unknown = connect('ann', { key: 'no-such-key' });
  assert.equal((await next(unknown.connection, 'error')).data.error.data.code, 4001);
  await until(() => unknown.connection.state === 'disconnected' || unknown.connection.state === 'failed', 'it stays away');
  const badUser = connect('ann', {
    userAuthentication: { customHandler: (_, done) => done(null, { auth: `${KEY}:0`, user_data: '{"id":"x"}' }) },
  });
  badUser.signin();
  assert.equal((await next(badUser.connection, 'error')).data.data.code, 4009);
}

async function echo() {
  const make = (user) => new Echo({ broadcaster: 'pusher', client: connect(user), key: KEY });
  const [ann, bob] = [make('ann'), make('bob')];
  const heard = new Promise((resolve) => ann.channel('orders').listen('.shipped', resolve));
  const whispered = new Promise((resolve) => ann.private('chat').listenForWhisper('typing', resolve));
  const seen = [];
  const room = ann.join('lobby').here((all) => seen.push(all)).joining((one) => seen.push(one)).leaving((one) => seen.push(one));
  await until(() => seen.length === 1, 'here');
  bob.join('lobby');
  await until(() => seen.length === 2, 'joining');
  bob.leave('lobby');
  await until(() => seen.length === 3, 'leaving');
  assert.ok(room);
  const whisper = bob.private('chat');
  await joined(whisper.subscription);
  whisper.whisper('typing', { name: 'bob' });
  assert.deepEqual(await whispered, { name: 'bob' });
  await joined(ann.channel('orders').subscription);
  await publish('orders', 'shipped', { id: 1 });
  assert.deepEqual(await heard, { id: 1 });
}

for (const part of [channels, clientEvents, presence, cache, encrypted, users, refusals, echo]) {
  try {
    await part();
  } catch (error) {
    console.error(`in ${part.name}`);
    throw error;
  }
  for (const client of opened.splice(0)) client.disconnect();
}
console.log('ok');
process.exit(0);
