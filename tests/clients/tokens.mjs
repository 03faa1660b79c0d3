// stentor.js with tokens: the user is proven, refused tokens are replaced, and one that ends is refreshed or asked for anew.
// A second connection of a user would replace the first, so each part has a user of its own.
// Usage: node tokens.mjs ws://ADDRESS SECRET, for a server with that HMAC secret.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import WebSocket from 'ws';
import { Stentor } from '../../src/web/stentor.js';

const [url, secret] = process.argv.slice(2);
setTimeout(() => { console.error('no end in 60 s'); process.exit(1); }, 60_000).unref();

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function tokenFor(user, seconds, claims = {}) {
  const exp = Math.floor(Date.now() / 1000) + seconds;
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ sub: user, exp, ...claims })}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const next = (client, type) => new Promise((resolve) => {
  client.on(type, resolve, { once: true });
});

function make(tokens, options) {
  const asked = [];
  const getToken = () => {
    asked.push(Date.now());
    const token = tokens[Math.min(asked.length, tokens.length) - 1];
    if (token instanceof Error) throw token;
    return token;
  };
  const client = new Stentor(`${url}/ws`, { WebSocket, getToken, random: () => 0.2, ...options });
  return { client, asked };
}

/** The first token is refused, which the client cannot see: it asks for another. */
async function refused() {
  const { client, asked } = make(['not.a.token', tokenFor('ana', 3_600)]);
  assert.equal((await next(client, 'welcome')).user, 'ana');
  assert.equal(asked.length, 2);
  const { expires } = await client.refresh(tokenFor('ana', 1_800));
  assert.ok(expires > 1_700 && expires <= 1_800, `${expires}`);
  const others = () => client.refresh(tokenFor('bo', 1_800)).catch(({ code }) => code);
  let refusal = await others();
  while (refusal === 'rate') { // One a second is looked at.
    await pause(300);
    refusal = await others();
  }
  assert.equal(refusal, 'bad_token');
  client.close();
}

/** Where the token ends soon the next one is taken, and the connection stays. */
async function refreshed() {
  const { client, asked } = make([tokenFor('bea', 4), tokenFor('bea', 3_600)]);
  const closes = [];
  client.on('close', ({ code }) => closes.push(code));
  const expiring = await next(client, 'expiring');
  assert.ok(expiring.in <= 4);
  while (asked.length < 2) await client.ping();
  // Until after the end of the first one.
  const end = Date.now() + 6_000;
  while (Date.now() < end) {
    await client.ping();
    await pause(50);
  }
  assert.deepEqual([closes, asked.length, client.user], [[], 2, 'bea']);
  client.close();
}

/** No new one in time: the server closes, and the client is back with the next that it gets. */
async function expired() {
  const busy = new Error('busy');
  const tokens = [tokenFor('cyd', 2), busy, busy, busy, busy, busy, busy, busy];
  const { client } = make(tokens);
  const errors = [];
  client.on('error', ({ code }) => errors.push(code));
  await client.join('x');
  const { code, final } = await next(client, 'close');
  assert.deepEqual([code, final], [3005, false]);
  tokens.fill(tokenFor('cyd', 3_600));
  const { recovered } = await next(client, 'joined');
  assert.deepEqual([client.user, typeof recovered], ['cyd', 'boolean']);
  assert.ok(errors.every((error) => error === 'no_token'));
  client.close();
}

/** Channels that the token names are heard without a join: `welcome` tells the first, `joined` all others. */
async function given() {
  const { client } = make([tokenFor('dan', 3_600, { channels: ['first', 'second'] })]);
  const [welcome, joined] = await Promise.all([next(client, 'welcome'), next(client, 'joined')]);
  assert.deepEqual([welcome.channel, joined.channel, joined.own], ['first', 'second', true]);
  const heard = next(client, 'message');
  await client.publish('second', 'hello');
  assert.equal((await heard).body, 'hello');
  client.close();
}

/** The token of a channel: refreshed in time, and replaced by a join where it was not. */
async function ofChannel() {
  const { client } = make([tokenFor('eli', 3_600)]);
  const tokens = [];
  const lasts = [3, 3];
  const getToken = ({ channel }) => {
    const seconds = lasts.shift();
    if (seconds === undefined) throw new Error('busy');
    tokens.push(tokenFor('eli', seconds, { channel }));
    return tokens.at(-1);
  };
  const [heard, told] = [[], []];
  client.on('left', ({ reason }) => told.push(reason));
  client.on('error', ({ code }) => assert.equal(code, 'no_token'));
  client.on('expiring', ({ channel }) => told.push(channel));
  await client.join('$own', { getToken, onmessage: ({ body }) => heard.push(body) });
  await client.publish('$own', 'one');
  while (tokens.length < 2) await client.ping();
  // The second one is not replaced in time.
  while (!told.includes('expired')) await client.ping();
  lasts.push(3_600);
  await next(client, 'joined');
  await client.publish('$own', 'two');
  while (heard.length < 2) await client.ping();
  assert.deepEqual([heard, tokens.length, told[0]], [['one', 'two'], 3, '$own']);
  assert.equal(told.filter((one) => one === 'expired').length, 1);
  client.close();
}

async function givenUp() {
  const { client } = make([null]);
  const { final } = await next(client, 'close');
  assert.equal(final, true);
}

await Promise.all([refused(), refreshed(), expired(), given(), ofChannel(), givenUp()]);
process.exit(0);
