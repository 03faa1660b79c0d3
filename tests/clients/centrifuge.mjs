// npm centrifuge against this server, as its users have it: subscriptions, one order with clients of other dialects,
// history, presence, errors, tokens, and recovery behind a proxy that cuts; over WebSocket, HTTP-stream and SSE. The
// server must keep history and recover. Usage: node --experimental-eventsource centrifuge.mjs ws://ADDRESS SECRET
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';
import { Stentor } from '../../src/web/stentor.js';
import { cuttingProxy } from './cutting.mjs';

const [url, secret] = process.argv.slice(2);
setTimeout(() => { console.error('no end in 60 s'); process.exit(1); }, 60_000).unref();

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const until = async (what, holds) => {
  const end = performance.now() + 20_000;
  while (!holds()) {
    assert.ok(performance.now() < end, `never: ${what}`);
    await pause(5);
  }
};
const encode = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const token = (claims) => {
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
};
const inOneHour = () => Math.floor(Date.now() / 1000) + 3600;
const http = (address) => address.replace(/^ws/, 'http');

// The transport of the round.
let transport;
const make = (options = {}, address = url) => {
  const endpoint = transport === 'websocket' ? `${address}/connection/websocket`
    : [{ transport, endpoint: `${http(address)}/connection/${transport}` }];
  return new Centrifuge(endpoint, {
    websocket: WebSocket, fetch, eventsource: EventSource, readableStream: ReadableStream,
    emulationEndpoint: `${http(url)}/emulation`, minReconnectDelay: 20, maxReconnectDelay: 200, ...options,
  });
};
const heardBy = (sub) => {
  const heard = [];
  sub.on('publication', ({ data }) => heard.push(data));
  return heard;
};

async function oneOrderWithOthers() {
  const ours = new Stentor(`${url}/ws`, { WebSocket });
  const name = `mixed-${transport}`;
  const plain = new WebSocket(`${url}/ws?channel=${name}`);
  const events = new EventSource(`${http(url)}/sse?channel=${name}`);
  const [said, stentor, listened] = [[], [], []];
  plain.on('message', (text) => said.push(JSON.parse(text)));
  events.onmessage = ({ data }) => listened.push(JSON.parse(data));
  await ours.join(name, { onmessage: ({ body }) => stentor.push(body) });
  const client = make({ token: token({ sub: 'ana', exp: inOneHour() }) });
  const sub = client.newSubscription(name);
  const heard = heardBy(sub);
  let first;
  sub.on('publication', (publication) => { first ??= publication; });
  sub.subscribe();
  client.connect();
  await sub.ready();
  await until('the plain clients are in', () => plain.readyState === 1 && events.readyState === 1);
  for (let n = 0; n < 30; n += 1) {
    if (n % 3 === 0) sub.publish({ n });
    else if (n % 3 === 1) ours.publish(name, { n });
    else plain.send(JSON.stringify({ n }));
  }
  await until('all is heard', () => [heard, stentor, said, listened].every((all) => all.length === 30));
  const plainly = (all) => all.map((one) => JSON.stringify(typeof one === 'string' ? JSON.parse(one) : one));
  assert.deepEqual(plainly(heard), plainly(stentor), 'one order');
  assert.deepEqual(plainly(heard), plainly(said), 'one order');
  assert.deepEqual(plainly(heard), plainly(listened), 'one order');
  assert.deepEqual(Object.keys(first).filter((key) => ['channel', 'data', 'offset', 'info'].includes(key)).length >= 3, true);
  const { clients } = await sub.presence();
  assert.ok(Object.values(clients).some(({ user }) => user === 'ana'));
  const { numClients } = await sub.presenceStats();
  assert.equal(numClients, 4);
  const { publications, offset, epoch } = await sub.history({ limit: 5, reverse: true });
  assert.equal(publications.length, 5);
  assert.equal(publications[0].offset, offset);
  assert.equal((await sub.history({ limit: 0 })).publications.length, 0);
  const rest = await sub.history({ limit: -1, since: { offset: 25, epoch } });
  assert.deepEqual(rest.publications.map((one) => one.offset), [26, 27, 28, 29, 30]);
  const codeOf = (promise) => promise.then(() => null, (error) => error.code);
  assert.equal(await codeOf(client.rpc('none', {})), 108);
  assert.equal(await codeOf(sub.history({ limit: 1, since: { offset: 1, epoch: 'other' } })), 112);
  sub.unsubscribe();
  await until('it has left', () => sub.state === 'unsubscribed');
  [client.disconnect(), ours.close(), plain.close(), events.close()].at(0);
}

async function joinsAndLeaves() {
  const [watcher, other] = [make(), make()];
  const sub = watcher.newSubscription(`doors-${transport}`, { joinLeave: true });
  const told = [];
  sub.on('join', ({ info }) => told.push(`+${info.client}`));
  sub.on('leave', ({ info }) => told.push(`-${info.client}`));
  sub.subscribe();
  watcher.connect();
  await sub.ready();
  const visit = other.newSubscription(`doors-${transport}`);
  visit.subscribe();
  const connected = new Promise((resolve) => { other.once('connected', resolve); });
  other.connect();
  const { client } = await connected;
  await visit.ready();
  await until('the join is told', () => told.includes(`+${client}`));
  visit.unsubscribe();
  await until('the leave is told', () => told.includes(`-${client}`));
  [watcher, other].forEach((one) => one.disconnect());
}

async function tokens() {
  const end = async (options) => {
    const client = make(options);
    const over = new Promise((resolve) => { client.once('disconnected', resolve); });
    client.connect();
    return over;
  };
  assert.equal((await end({ token: 'none of ours' })).code, 3500);
  // An expired one is fetched anew.
  let asked = 0;
  const getToken = async () => { asked += 1; return token({ sub: 'bob', exp: inOneHour() }); };
  const client = make({ token: token({ sub: 'bob', exp: 1 }), getToken });
  client.connect();
  await client.ready();
  assert.equal(asked, 1);
  // The channels of a token are subscribed by the server.
  const subs = [];
  const served = make({ token: token({ sub: 'cid', exp: inOneHour(), channels: ['news'] }) });
  served.on('subscribed', ({ channel }) => subs.push(channel));
  const heard = [];
  served.on('publication', ({ channel, data }) => heard.push([channel, data]));
  served.connect();
  await until('the server subscribes it', () => subs.includes('news'));
  await served.publish('news', 'hello');
  await until('it hears', () => heard.length === 1);
  assert.deepEqual(heard, [['news', 'hello']]);
  [client, served].forEach((one) => one.disconnect());
}

const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds;

/** Tokens that end are refreshed by the client itself, and nothing is interrupted. */
async function refreshes() {
  const asked = { connection: 0, channel: 0 };
  const lasts = (count) => inSeconds(count > 1 ? 3600 : 3);
  const client = make({
    getToken: async () => token({ sub: 'dan', exp: lasts(asked.connection += 1) }),
  });
  const sub = client.newSubscription('$private', {
    getToken: async ({ channel }) => token({ sub: 'dan', channel, exp: lasts(asked.channel += 1) }),
  });
  const [heard, breaks] = [heardBy(sub), []];
  sub.subscribe();
  client.connect();
  await sub.ready();
  client.on('connecting', (context) => breaks.push(context));
  client.on('disconnected', (context) => breaks.push(context));
  sub.on('subscribing', (context) => breaks.push(context));
  sub.on('unsubscribed', (context) => breaks.push(context));
  await until('both are asked for again', () => asked.connection === 2 && asked.channel === 2);
  const end = performance.now() + 2_000; // The first tokens have ended by then.
  for (let n = 0; performance.now() < end; n += 1) {
    await sub.publish(n);
    await pause(100);
  }
  assert.deepEqual([breaks, asked, heard.length > 5], [[], { connection: 2, channel: 2 }, true]);
  // A token for another channel: the subscription is over, and the server says why.
  const other = client.newSubscription('$other', { token: token({ sub: 'dan', channel: '$private' }) });
  const over = new Promise((resolve) => { other.once('unsubscribed', resolve); });
  other.subscribe();
  assert.equal((await over).code, 103);
  client.disconnect();
}

/** What a token says about the channels that it names. */
async function subsOfTokens() {
  const subs = { $vip: { info: { seat: 7 }, data: { hello: 'dan' }, override: { force_push_join_leave: { value: true } } } };
  const client = make({ token: token({ sub: 'eve', exp: inOneHour(), subs }) });
  const [told, joins] = [[], []];
  client.on('subscribed', ({ channel, data }) => told.push([channel, data]));
  client.on('join', ({ info }) => joins.push(info));
  client.connect();
  await until('the server subscribes it', () => told.length === 1);
  assert.deepEqual(told, [['$vip', { hello: 'dan' }]]);
  const { clients } = await client.presence('$vip');
  assert.deepEqual(Object.values(clients).map(({ chanInfo }) => chanInfo), [{ seat: 7 }]);
  const other = make({ token: token({ sub: 'fay', exp: inOneHour(), channels: ['$vip'] }) });
  other.connect();
  await until('it hears of the other', () => joins.some(({ user }) => user === 'fay'));
  [client, other].forEach((one) => one.disconnect());
}

async function recoversBehindCuts() {
  const proxy = await cuttingProxy(url);
  const publisher = make();
  publisher.connect();
  await publisher.ready();
  const crowd = await Promise.all([...Array(10).keys()].map(async () => {
    const client = make({}, proxy.url);
    const sub = client.newSubscription(`cuts-${transport}`, { positioned: true, recoverable: true });
    const heard = heardBy(sub);
    const failed = [];
    sub.on('subscribed', ({ wasRecovering, recovered }) => wasRecovering && !recovered && failed.push(1));
    sub.subscribe();
    client.connect();
    await sub.ready();
    return { client, heard, failed };
  }));
  const wanted = [...Array(300).keys()];
  for (const n of wanted) {
    await publisher.publish(`cuts-${transport}`, n);
    if (n % 25 === 24) proxy.cut();
  }
  await until('everybody has heard the last', () => crowd.every(({ heard }) => heard.at(-1) === 299));
  for (const { heard, failed } of crowd) {
    assert.deepEqual(heard, wanted, 'each once, in order');
    assert.equal(failed.length, 0);
  }
  crowd.forEach(({ client }) => client.disconnect());
  publisher.disconnect();
  proxy.close?.();
}

const parts = [oneOrderWithOthers, joinsAndLeaves, tokens, refreshes, subsOfTokens, recoversBehindCuts];
for (transport of ['websocket', 'http_stream', 'sse']) {
  for (const part of parts) {
    await part().catch((error) => { throw new Error(`${part.name} over ${transport}`, { cause: error }); });
  }
}
process.exit(0);
