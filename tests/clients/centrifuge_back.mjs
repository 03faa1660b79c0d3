// npm centrifuge whose clients come back: to channels that the server has chosen for them, and to those of which they
// have lost publications because they read too slowly. The server must recover, and drop what a slow client does not
// take. Usage: node --experimental-eventsource centrifuge_back.mjs ws://ADDRESS SECRET
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { Centrifuge } from 'centrifuge';
import WebSocket from 'ws';
import { cuttingProxy } from './cutting.mjs';

const [url, secret] = process.argv.slice(2);
setTimeout(() => { console.error('no end in 110 s'); process.exit(1); }, 110_000).unref();

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const until = async (what, holds) => {
  const end = performance.now() + 60_000;
  while (!holds()) {
    assert.ok(performance.now() < end, `never: ${what}`);
    await pause(5);
  }
};
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const token = (claims) => {
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
};
const http = (address) => address.replace(/^ws/, 'http');

let transport;
const make = (address, options = {}) => {
  const endpoint = transport === 'websocket' ? `${address}/connection/websocket`
    : [{ transport, endpoint: `${http(address)}/connection/${transport}` }];
  return new Centrifuge(endpoint, {
    websocket: WebSocket, fetch, eventsource: EventSource, readableStream: ReadableStream,
    emulationEndpoint: `${http(url)}/emulation`, minReconnectDelay: 20, maxReconnectDelay: 200, ...options,
  });
};

/** A client of which the server has made a member of channels, and all that happens to it. */
async function served(address, user, channels) {
  const client = make(address, { token: token({ sub: user, channels }) });
  const told = { heard: {}, returns: [], codes: [], gone: [] };
  channels.forEach((channel) => { told.heard[channel] = []; });
  client.on('publication', ({ channel, data }) => told.heard[channel].push(data.n));
  client.on('subscribed', ({ channel, wasRecovering, recovered }) => told.returns.push([channel, wasRecovering, recovered]));
  client.on('connecting', ({ code }) => told.codes.push(code));
  client.on('unsubscribed', ({ channel }) => told.gone.push(channel));
  client.connect();
  await until('the server subscribes it', () => told.returns.length === channels.length);
  return { client, ...told };
}

async function publisherOf() {
  const publisher = make(url);
  publisher.connect();
  await publisher.ready();
  return publisher;
}

/** Server-side subscriptions over cuts: nothing is missed, nothing is told twice. */
async function recoversWhatTheServerChose() {
  const proxy = await cuttingProxy(url);
  const publisher = await publisherOf();
  const channels = ['news', 'alerts', 'quiet', '#ana'].map((name) => `${name}-${transport}`.replace(/^(#ana).*/, '$1'));
  const [news, alerts, quiet, own] = channels;
  const { client, heard, returns, gone } = await served(proxy.url, 'ana', channels);
  for (let n = 0; n < 100; n += 1) {
    await publisher.publish(news, { n });
    if (n % 2 === 0) await publisher.publish(alerts, { n });
    if (n % 20 === 19) {
      const before = returns.length;
      proxy.cut();
      // Some is said while it is away.
      await publisher.publish(news, { n: n + 0.5 });
      await until('it is back', () => returns.length >= before + channels.length);
    }
  }
  await until('it has heard the last', () => heard[news].at(-1) === 99.5 && heard[alerts].at(-1) === 98);
  const all = [...Array(100).keys()].flatMap((n) => (n % 20 === 19 ? [n, n + 0.5] : [n]));
  assert.deepEqual(heard[news], all, 'each once, in order');
  assert.deepEqual(heard[alerts], [...Array(50).keys()].map((n) => 2 * n));
  assert.deepEqual([heard[quiet], gone], [[], []]);
  const back = returns.slice(channels.length);
  assert.ok(back.length >= 5 * channels.length && back.every(([, was, recovered]) => was && recovered), `${returns}`);
  assert.ok(back.some(([channel]) => channel === own));
  client.disconnect();
  publisher.disconnect();
  proxy.close();
}

/** A client that does not read for a while loses publications, is told to come back, and has heard all of them then. */
async function missesNothingWhenItIsSlow() {
  const proxy = await cuttingProxy(url);
  const publisher = await publisherOf();
  const [asked, chosen] = [`slow-${transport}`, `chosen-${transport}`];
  const client = make(proxy.url);
  const sub = client.newSubscription(asked);
  const [heard, returns] = [[], []];
  sub.on('publication', ({ data }) => heard.push(data.n));
  sub.on('subscribing', ({ code }) => returns.push(code));
  sub.on('subscribed', ({ wasRecovering, recovered }) => returns.push(wasRecovering ? recovered : null));
  sub.subscribe();
  client.connect();
  await sub.ready();
  const other = await served(proxy.url, 'bob', [chosen]);
  proxy.hold(true);
  // More than sockets and outboxes hold.
  const long = 'x'.repeat(60_000);
  for (let n = 0; n < 300; n += 1) {
    await Promise.all([publisher.publish(asked, { n, long }), publisher.publish(chosen, { n, long })]);
  }
  proxy.hold(false);
  await until('both have heard the last', () => heard.at(-1) === 299 && other.heard[chosen].at(-1) === 299);
  const all = [...Array(300).keys()];
  assert.deepEqual(heard, all, 'each once, in order');
  assert.deepEqual(other.heard[chosen], all, 'each once, in order');
  assert.ok(returns.includes(2500), `it was told: ${returns}`);
  assert.ok(returns.slice(2).every((one) => one === 2500 || one === true), `${returns}`);
  assert.ok(other.codes.length > 1 && other.returns.slice(1).every(([, was, recovered]) => was && recovered), `${other.returns}`);
  [client, other.client, publisher].forEach((one) => one.disconnect());
  proxy.close();
}

for (transport of ['websocket', 'http_stream', 'sse']) {
  // Both streams are slow in the same way, and it takes its time.
  const parts = [recoversWhatTheServerChose, transport === 'sse' ? [] : missesNothingWhenItIsSlow].flat();
  for (const part of parts) {
    await part().catch((error) => { throw new Error(`${part.name} over ${transport}`, { cause: error }); });
  }
}
process.exit(0);
