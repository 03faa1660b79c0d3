// stentor.js behind a proxy that cuts it: each client hears each publication once and in order, and so does one with a
// position of an earlier life. The server must keep history and recover.
// Usage: node recovery.mjs ws://ADDRESS [CLIENTS [CUTS]]
import assert from 'node:assert/strict';
import WebSocket from 'ws';
import { Stentor } from '../../src/web/stentor.js';
import { cuttingProxy } from './cutting.mjs';

const [url, count = '20', cuts = '12'] = process.argv.slice(2);
setTimeout(() => { console.error('no end in 90 s'); process.exit(1); }, 90_000).unref();

const [CHANNEL, PAST] = [`cut-${process.pid}`, `past-${process.pid}`]; // Nobody was in them before.
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const until = async (what, holds) => {
  const end = performance.now() + 30_000;
  while (!holds()) {
    assert.ok(performance.now() < end, `never: ${what()}`);
    await pause(5);
  }
};
const make = (address, options) => new Stentor(`${address}/ws`, { WebSocket, ...options });

async function cutAtRandom() {
  const proxy = await cuttingProxy(url);
  const publisher = make(url);
  // Reconnects without a pause would hide how it goes on: a few are enough.
  const crowd = await Promise.all([...Array(Number(count)).keys()].map(async (n) => {
    const query = n % 4 === 3 ? `?channel=${CHANNEL}` : ''; // The first connection is in it from the start.
    const client = new Stentor(`${proxy.url}/ws${query}`, {
      WebSocket, stableAfter: 0, connectTimeout: 3_000, random: () => Math.random() * 0.2,
    });
    const one = { client, heard: [], joined: [], gaps: [] };
    client.on('joined', (joined) => joined.own && one.joined.push(joined));
    client.on('gap', (gap) => one.gaps.push(gap));
    await client.join(CHANNEL, { onmessage: ({ body }) => one.heard.push(body) });
    return one;
  }));
  const wanted = [];
  let cut = 0;
  for (let round = 0; round < Number(cuts); round += 1) {
    for (let n = 0; n < 10; n += 1) {
      wanted.push(wanted.length);
      await publisher.publish(CHANNEL, wanted.at(-1));
    }
    cut += proxy.cut(0.5);
    await pause(40 + Math.random() * 120);
  }
  for (const { client, heard, joined, gaps } of crowd) {
    await until(() => `${client.state}, ${heard.length} of ${wanted.length}, ${JSON.stringify(joined.at(-1))}`,
      () => heard.length >= wanted.length);
    assert.deepEqual(heard, wanted);
    assert.deepEqual(gaps, []);
    assert.deepEqual(joined.filter(({ recovered }) => recovered === false), []);
  }
  assert.ok(cut > Number(count), `${cut} cuts are not enough`);
  crowd.forEach(({ client }) => client.close());
  publisher.close();
  proxy.close();
}

async function pastAndPosition() {
  const [one, two] = [make(url), make(url)];
  await one.join(PAST);
  for (const body of ['a', 'b', 'c']) await two.publish(PAST, body);
  await until(() => 'all is heard', () => one.position(PAST).offset === 3);
  const position = one.position(PAST);
  one.close();
  for (const body of ['d', 'e']) await two.publish(PAST, body);

  const three = make(url);
  const heard = [];
  const joined = new Promise((resolve) => three.on('joined', resolve));
  await three.join(PAST, { since: position, onmessage: ({ body }) => heard.push(body) });
  assert.deepEqual(heard, ['d', 'e']);
  const { recovered, missed } = await joined;
  assert.deepEqual([recovered, missed], [true, 0]);
  await two.publish(PAST, 'f');
  await until(() => 'it is live', () => heard.length === 3);

  const newest = await three.history(PAST, { limit: 2, reverse: true });
  assert.deepEqual(newest.publications.map(({ body, type, channel }) => [body, type, channel]),
    [['f', 'message', PAST], ['e', 'message', PAST]]);
  assert.deepEqual([newest.offset, newest.epoch, newest.more], [6, position.epoch, true]);
  const after = await three.history(PAST, { since: position });
  assert.deepEqual(after.publications.map(({ body }) => body), ['d', 'e', 'f']);
  const wrong = { since: { epoch: '00000000', offset: 1 } };
  assert.equal(await three.history(PAST, wrong).catch((error) => error.code), 'wrong_epoch');
  // What cannot be recovered is said, and the client is a member all the same.
  const four = make(url);
  const lost = new Promise((resolve) => four.on('joined', resolve));
  const live = [];
  await four.join(PAST, { ...wrong, onmessage: ({ body }) => live.push(body) });
  assert.equal((await lost).recovered, false);
  await two.publish(PAST, 'g');
  await until(() => 'it is live', () => live.length === 1);
  [two, three, four].forEach((client) => client.close());
}

await pastAndPosition();
await cutAtRandom();
process.exit(0);
