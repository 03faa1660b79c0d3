// npm centrifuge in Protobuf and with Fossil deltas against this server, beside its JSON build and clients of other
// dialects: one order, bodies byte for byte, patches that make what everybody hears, and recovery behind cuts.
// The server must keep history, recover, and have delta = "fossil". Usage: node centrifuge_protobuf.mjs ws://ADDRESS SECRET
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { Centrifuge as Json } from 'centrifuge';
import { Centrifuge as Protobuf } from 'centrifuge/build/protobuf';
import WebSocket from 'ws';
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
const bytes = (value) => new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));
const text = (data) => Buffer.from(data).toString();
const http = (address) => address.replace(/^ws/, 'http');

// The transport of the round.
let transport = 'websocket';
const make = (Kind, address = url, more = {}) => {
  const endpoint = transport === 'websocket' ? `${address}/connection/websocket`
    : [{ transport, endpoint: `${http(address)}/connection/${transport}` }];
  return new Kind(endpoint, {
    websocket: WebSocket, fetch, readableStream: ReadableStream, emulationEndpoint: `${http(url)}/emulation`,
    minReconnectDelay: 20, maxReconnectDelay: 200, ...more,
  });
};
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const token = (claims) => {
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
};

// A subscriber; its bodies are heard as the text of their JSON, whatever it speaks.
async function listen(Kind, channel, options = {}, address = url) {
  const client = make(Kind, address);
  const sub = client.newSubscription(channel, options);
  const [heard, failed] = [[], []];
  sub.on('publication', ({ data }) => heard.push(Kind === Json ? JSON.stringify(data) : text(data)));
  sub.on('subscribed', ({ wasRecovering, recovered }) => wasRecovering && !recovered && failed.push(1));
  sub.subscribe();
  client.connect();
  await sub.ready();
  return { client, sub, heard, failed };
}

async function commandsInProtobuf() {
  const channel = `commands-${transport}`;
  const { client, sub, heard } = await listen(Protobuf, channel, { joinLeave: true });
  const joined = [];
  sub.on('join', ({ info }) => joined.push(info.client));
  const other = await listen(Protobuf, channel);
  await until('the join is told', () => joined.length === 1);
  await other.sub.publish(bytes({ one: 1 }));
  await until('it is heard', () => heard.length === 1);
  assert.equal(heard[0], '{"one":1}');
  const { clients } = await sub.presence();
  assert.equal(Object.keys(clients).length, 2);
  assert.equal((await sub.presenceStats()).numClients, 2);
  const { publications, offset, epoch } = await sub.history({ limit: 10 });
  assert.deepEqual(publications.map(({ data }) => text(data)), ['{"one":1}']);
  assert.equal(Number(offset), 1);
  const codeOf = (promise) => promise.then(() => null, (error) => error.code);
  assert.equal(await codeOf(client.rpc('none', bytes('{}'))), 108);
  assert.equal(await codeOf(sub.history({ limit: 1, since: { offset: 1, epoch: `${epoch}x` } })), 112);
  assert.equal(await codeOf(sub.publish(new Uint8Array())), 107);
  [client, other.client].forEach((one) => one.disconnect());
}

// A channel may be left at any time, also by a client that is not in it. A join that a leave takes back, as its home is
// another shard, is answered with an error that passes: many libraries take it for the answer to the join behind it.
async function leavesAtWill() {
  const socket = new WebSocket(`${url}/connection/websocket`);
  const told = [];
  socket.on('message', (data) => told.push(...data.toString().split('\n').map((line) => JSON.parse(line))));
  await new Promise((resolve) => { socket.on('open', resolve); });
  const commands = [{ connect: {} }, { unsubscribe: { channel: 'nowhere' } }];
  for (let n = 0; n < 30; n += 1) {
    const channel = `mind-${n}`;
    commands.push({ subscribe: { channel } }, { unsubscribe: { channel } }, { subscribe: { channel } });
  }
  socket.send(commands.map((command, index) => JSON.stringify({ id: index + 1, ...command })).join('\n'));
  await until('all are answered', () => told.length === commands.length);
  const answers = new Map(told.map((reply) => [reply.id, reply]));
  assert.deepEqual(answers.get(2), { id: 2, unsubscribe: {} });
  for (let id = 3; id < commands.length; id += 3) {
    const [taken, left, last] = [0, 1, 2].map((more) => answers.get(id + more));
    assert.ok(taken.subscribe || taken.error.temporary, JSON.stringify(taken));
    assert.ok(left.unsubscribe && last.subscribe);
  }
  assert.ok(told.some(({ error }) => error), 'some homes are elsewhere');
  socket.close();
}

// Tokens that end, of the connection and for a channel: both are refreshed by the library, and nothing is interrupted.
async function refreshesInProtobuf() {
  const asked = { connection: 0, channel: 0 };
  const exp = (count) => Math.floor(Date.now() / 1000) + (count > 1 ? 3600 : 3);
  const client = make(Protobuf, url, {
    getToken: async () => token({ sub: 'dan', exp: exp(asked.connection += 1), subs: { $vip: { data: { hello: 'dan' } } } }),
  });
  const sub = client.newSubscription('$private', {
    getToken: async ({ channel }) => token({ sub: 'dan', channel, exp: exp(asked.channel += 1) }),
  });
  const [told, breaks] = [[], []];
  client.on('subscribed', ({ channel, data }) => told.push([channel, text(data)]));
  sub.subscribe();
  client.connect();
  await sub.ready();
  for (const name of ['connecting', 'disconnected']) client.on(name, (context) => breaks.push(context));
  for (const name of ['subscribing', 'unsubscribed']) sub.on(name, (context) => breaks.push(context));
  await until('both are asked for again', () => asked.connection === 2 && asked.channel === 2);
  const end = performance.now() + 2_000; // The first tokens have ended by then.
  while (performance.now() < end) {
    await sub.publish(bytes('{}'));
    await pause(100);
  }
  assert.deepEqual([breaks, asked, told], [[], { connection: 2, channel: 2 }, [['$vip', '{"hello":"dan"}']]]);
  client.disconnect();
}

// The parameters that ask for Protobuf, where a client cannot offer a subprotocol; and an end with its code.
async function byParameter() {
  for (const parameter of ['format=protobuf', 'cf_protocol=protobuf']) {
    const socket = new WebSocket(`${url}/connection/websocket?${parameter}`);
    const messages = [];
    socket.on('message', (data, isBinary) => messages.push([data, isBinary]));
    const closed = new Promise((resolve) => { socket.on('close', (code) => resolve(code)); });
    await new Promise((resolve) => { socket.on('open', resolve); });
    socket.send(Buffer.from([4, 8, 1, 0x22, 0, 4, 8, 2, 0x5a, 0]));
    await until('both are answered', () => messages.length === 2);
    assert.ok(messages.every(([, isBinary]) => isBinary));
    assert.equal(messages[1][0].toString('hex'), '0408026200', 'the reply to the ping');
    socket.send(Buffer.from([9, 8, 1]));
    assert.equal(await closed, 3501, 'a length beyond the message');
  }
}

async function bodiesThatAreNoJson() {
  const [json, proto] = [await listen(Json, 'bytes'), await listen(Protobuf, 'bytes')];
  const plain = new WebSocket(`${url}/ws?channel=bytes`);
  const said = [];
  plain.on('message', (data, isBinary) => said.push(isBinary ? data.toString('hex') : data.toString()));
  await new Promise((resolve) => { plain.on('open', resolve); });
  const raw = [];
  proto.sub.on('publication', ({ data }) => raw.push(Buffer.from(data).toString('hex')));
  await proto.sub.publish(Uint8Array.of(0, 255));
  await proto.sub.publish(bytes('[1,\n2]'));
  await json.sub.publish('text');
  plain.send('plain');
  await until('all is heard', () => [json.heard, raw, said].every((all) => all.length === 4));
  const hex = (words) => Buffer.from(words).toString('hex');
  assert.deepEqual(raw, ['00ff', hex('[1,\n2]'), hex('"text"'), hex('plain')], 'bytes as they are');
  assert.deepEqual(json.heard, ['"AP8="', '[1,2]', '"text"', '"plain"'], 'base64, JSON and text');
  assert.deepEqual(said, ['00ff', '[1,\n2]', 'text', 'plain']);
  [json.client, proto.client].forEach((one) => one.disconnect());
  plain.close();
}

async function deltas() {
  const delta = { delta: 'fossil' };
  const all = [
    await listen(Json, 'deltas', delta), await listen(Json, 'deltas'),
    await listen(Protobuf, 'deltas', delta), await listen(Protobuf, 'deltas'),
  ];
  const publisher = make(Json);
  publisher.connect();
  await publisher.ready();
  const signs = ['é', 'è', '🟢', '🔴', '中', '文'];
  const word = (seed) => [...Array(40).keys()].map((n) => signs[(n * n + (n * seed >> 3)) % 6]).join('');
  const wanted = [];
  for (let n = 0; n < 60; n += 1) {
    const body = { n, note: word(n), lines: 'one\ntwo', rest: 'x'.repeat(300) };
    wanted.push(JSON.stringify(body));
    publisher.publish('deltas', body);
  }
  await until('all is heard', () => all.every(({ heard }) => heard.length === 60));
  // One that comes later begins with a whole body.
  all.push(await listen(Json, 'deltas', delta), await listen(Protobuf, 'deltas', delta));
  await publisher.publish('deltas', { n: 60, rest: 'x'.repeat(300) });
  await publisher.publish('deltas', { n: 61, rest: 'x'.repeat(300) });
  wanted.push(...[60, 61].map((n) => JSON.stringify({ n, rest: 'x'.repeat(300) })));
  await until('all is heard', () => all.every(({ heard }) => heard.at(-1) === wanted.at(-1)));
  all.slice(0, 4).forEach(({ heard }) => assert.deepEqual(heard, wanted));
  all.slice(4).forEach(({ heard }) => assert.deepEqual(heard, wanted.slice(60)));
  for (const at of [0, 2]) {
    const { numFullPayloads, numDeltaPayloads, bytesReceived, bytesDecoded } = all[at].sub.deltaStats();
    assert.deepEqual([numFullPayloads, numDeltaPayloads], [1, 61]);
    assert.ok(bytesReceived < bytesDecoded * 0.7, `${bytesReceived} of ${bytesDecoded}`);
  }
  for (const at of [4, 5]) assert.equal(all[at].sub.deltaStats().numFullPayloads, 1);
  all.forEach(({ client }) => client.disconnect());
  publisher.disconnect();
}

async function recoversBehindCuts() {
  const proxy = await cuttingProxy(url);
  const publisher = make(Json);
  publisher.connect();
  await publisher.ready();
  const crowd = await Promise.all([...Array(12).keys()].map((n) => {
    const options = { positioned: true, recoverable: true, ...(n % 3 === 0 ? {} : { delta: 'fossil' }) };
    return listen([Json, Protobuf][n % 2], 'cuts', options, proxy.url);
  }));
  const body = (n) => ({ n, rest: 'some text that stays the same from message to message' });
  for (let n = 0; n < 300; n += 1) {
    await publisher.publish('cuts', body(n));
    if (n % 25 === 24) proxy.cut(n % 2 ? 1 : 0.5);
  }
  const wanted = [...Array(300).keys()].map((n) => JSON.stringify(body(n)));
  await until('everybody has heard the last', () => crowd.every(({ heard }) => heard.at(-1) === wanted.at(-1)));
  for (const { heard, failed } of crowd) {
    assert.deepEqual(heard, wanted, 'each once, in order');
    assert.equal(failed.length, 0);
  }
  crowd.forEach(({ client }) => client.disconnect());
  publisher.disconnect();
  proxy.close();
}

for (transport of ['http_stream', 'websocket']) await commandsInProtobuf();
await Promise.all([refreshesInProtobuf(), leavesAtWill()]);
await byParameter();
await bodiesThatAreNoJson();
await deltas();
await recoversBehindCuts();
process.exit(0);
