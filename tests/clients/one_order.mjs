// One channel with clients of every dialect and transport at once: plain, stentor.js, EventSource, npm centrifuge and
// centrifuge-python in JSON and Protobuf, over WebSocket, HTTP-stream and SSE, with deltas and without, and those that
// only listen. Five of them and the API publish, and all hear one order. The server must have delta = "fossil".
// Usage: node --experimental-eventsource one_order.mjs ws://ADDRESS http://ADMIN PYTHON
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Centrifuge as Json } from 'centrifuge';
import { Centrifuge as Protobuf } from 'centrifuge/build/protobuf';
import WebSocket from 'ws';
import { Stentor } from '../../src/web/stentor.js';

const [url, admin, python] = process.argv.slice(2);
const [CHANNEL, COUNT] = ['everybody', 240];
const http = url.replace(/^ws/, 'http');

const until = async (what, holds) => {
  const end = performance.now() + 30_000;
  while (!holds()) {
    assert.ok(performance.now() < end, `never: ${what()}`);
    await new Promise((resolve) => { setTimeout(resolve, 5); });
  }
};
// The number in a body: texts of plain clients are strings to others.
const numberIn = (body) => (typeof body === 'string' ? JSON.parse(body) : body).n;

// The numbers that each client has heard, by its kind.
const heard = {};
const listener = (kind) => {
  heard[kind] = [];
  return (body) => heard[kind].push(numberIn(body));
};

async function plain() {
  const hear = listener('plain');
  const socket = new WebSocket(`${url}/ws?channel=${CHANNEL}`);
  socket.on('message', (data) => hear(data.toString()));
  await new Promise((resolve) => { socket.on('open', resolve); });
  return (body) => socket.send(JSON.stringify(body));
}

async function stentor() {
  const hear = listener('stentor.js');
  const client = new Stentor(`${url}/ws`, { WebSocket });
  await client.join(CHANNEL, { onmessage: ({ body }) => hear(body) });
  return (body) => client.publish(CHANNEL, body);
}

async function centrifuge(Kind, transport, delta) {
  const hear = listener(`${Kind === Json ? 'JSON' : 'Protobuf'} ${transport} ${delta ?? 'whole'}`);
  const endpoint = transport === 'websocket' ? `${url}/connection/websocket`
    : [{ transport, endpoint: `${http}/connection/${transport}` }];
  const client = new Kind(endpoint, {
    websocket: WebSocket, fetch, eventsource: EventSource, readableStream: ReadableStream,
    emulationEndpoint: `${http}/emulation`,
  });
  const sub = client.newSubscription(CHANNEL, delta ? { delta, recoverable: true } : {});
  sub.on('publication', ({ data }) => hear(Kind === Json ? data : Buffer.from(data).toString()));
  sub.subscribe();
  client.connect();
  await sub.ready();
  const encode = (body) => (Kind === Json ? body : new TextEncoder().encode(JSON.stringify(body)));
  return (body) => sub.publish(encode(body));
}

// An EventSource that is in once it has been told something.
async function events(kind, path, bodyOf) {
  const hear = listener(kind);
  const source = new EventSource(`${http}${path}`);
  await new Promise((resolve) => {
    source.onopen = resolve;
    source.onmessage = ({ data }) => { const body = bodyOf(data); if (body !== undefined) hear(body); };
  });
}

const uni = JSON.stringify({ subs: { [CHANNEL]: {} } });
const pushed = (line) => JSON.parse(line).pub?.data;

async function uniSocket() {
  const hear = listener('uni websocket');
  const socket = new WebSocket(`${url}/connection/uni_websocket`);
  socket.on('open', () => socket.send(uni));
  await new Promise((resolve) => {
    socket.on('message', (data) => {
      resolve();
      const bodies = data.toString().split('\n').filter((line) => line).map(pushed);
      bodies.filter((body) => body !== undefined).forEach(hear);
    });
  });
}

async function uniStream() {
  const hear = listener('uni http_stream');
  const { body } = await fetch(`${http}/connection/uni_http_stream`, { method: 'POST', body: uni });
  const told = [];
  const read = async () => {
    let rest = '';
    for await (const part of body.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + part).split('\n');
      rest = lines.pop();
      for (const line of lines) { told.push(line); const data = pushed(line); if (data !== undefined) hear(data); }
    }
  };
  read().catch(() => {});
  await until(() => 'the greeting of uni http_stream', () => told.length > 0);
}

async function pythons() {
  const script = fileURLToPath(new URL('one_order.py', import.meta.url));
  const child = spawn(python, [script, url, CHANNEL, COUNT], { stdio: ['ignore', 'pipe', 'inherit'] });
  process.on('exit', () => child.kill());
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  assert.equal((await lines.next()).value, 'ready');
  return lines;
}

setTimeout(() => {
  console.error('no end in 60 s', Object.entries(heard).map(([kind, all]) => `${kind}: ${all.length}`));
  process.exit(1);
}, 60_000).unref();

const fossil = 'fossil';
const speakers = [
  await plain(), await stentor(), await centrifuge(Json, 'websocket', fossil), await centrifuge(Protobuf, 'websocket'),
  await centrifuge(Protobuf, 'http_stream', fossil),
  (body) => fetch(`${admin}/api/publish`, { method: 'POST', body: JSON.stringify({ channel: CHANNEL, data: body }) }),
];
await centrifuge(Json, 'websocket');
await centrifuge(Protobuf, 'websocket', fossil);
for (const transport of ['http_stream', 'sse']) {
  for (const delta of [undefined, fossil]) await centrifuge(Json, transport, delta);
}
await centrifuge(Protobuf, 'http_stream');
await events('EventSource', `/sse?channel=${CHANNEL}`, (data) => data);
await events('uni sse', `/connection/uni_sse?cf_connect=${encodeURIComponent(uni)}`, pushed);
await uniSocket();
await uniStream();
const lines = await pythons();

for (let n = 0; n < COUNT; n += 1) {
  const said = speakers[n % speakers.length]({ n, note: 'é🟢 some text that stays the same from message to message' });
  // Twelve words are on their way at a time.
  if (n % 12 === 11) await said;
}
const counts = () => Object.entries(heard).map(([kind, all]) => `${kind}: ${all.length}`).join(', ');
await until(counts, () => Object.values(heard).every((all) => all.length === COUNT));
JSON.parse((await lines.next()).value).forEach((bodies, index) => {
  heard[`centrifuge-python ${index}`] = bodies.map(numberIn);
});
assert.equal(Object.keys(heard).length, 20);
for (const [kind, all] of Object.entries(heard)) assert.deepEqual(all, heard.plain, `${kind} and plain: one order`);
assert.deepEqual(heard.plain.toSorted((a, b) => a - b), [...Array(COUNT).keys()], 'each once');
process.exit(0);
