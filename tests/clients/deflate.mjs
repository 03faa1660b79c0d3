// npm's ws and stentor.js with permessage-deflate, and Chromium, which offers it by itself: all hear the same.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import WebSocket from 'ws';
import { Stentor } from '../../src/web/stentor.js';
import { withBrowser } from './chromium.mjs';

const url = process.argv[2];
setTimeout(() => { console.error('no end in 90 s'); process.exit(1); }, 90_000).unref();

const word = (number) => JSON.stringify({ number, text: 'hello there '.repeat(number % 60) });

/** Clients of all kinds; those that compress send even the shortest message so. */
async function open(channel) {
  const offers = [true, true, { threshold: 0 }, { threshold: 0, serverMaxWindowBits: 12 },
    { threshold: 0, serverNoContextTakeover: true }, { threshold: 0 }, { threshold: 0 }, false];
  return Promise.all(offers.map(async (perMessageDeflate) => {
    const client = new WebSocket(`${url}/ws?channel=${channel}`, { perMessageDeflate });
    client.heard = [];
    client.on('message', (data) => client.heard.push(data.toString()));
    await once(client, 'open');
    assert.equal(client.extensions, perMessageDeflate ? 'permessage-deflate' : '');
    return client;
  }));
}

async function library() {
  const client = () => new Stentor(`${url}/ws`, { WebSocket });
  const clients = Array.from({ length: 5 }, client);
  const heard = clients.map(() => []);
  await Promise.all(clients.map((one, at) =>
    one.join('library', { onmessage: ({ body }) => heard[at].push(body.number) })));
  for (let number = 0; number < 150; number += 1) {
    await clients[number % 5].publish('library', JSON.parse(word(number)));
  }
  while (heard.some((numbers) => numbers.length < 150)) await pause(5);
  for (const numbers of heard) assert.deepEqual(numbers, [...Array(150).keys()]);
  clients.forEach((one) => one.close());
}

await withBrowser(async (browser) => {
  const clients = await open('mixed');
  const tab = await browser.newPage();
  await tab.goto(`${url.replace('ws:', 'http:')}/`);
  await tab.evaluate((url) => {
    window.heard = [];
    window.sockets = Array.from({ length: 4 }, () => new WebSocket(`${url}/ws?channel=mixed`));
    window.sockets.forEach((socket, at) => {
      window.heard[at] = [];
      socket.onmessage = ({ data }) => window.heard[at].push(data);
    });
    return Promise.all(window.sockets.map((one) => new Promise((done) => { one.onopen = done; })));
  }, url);
  assert.equal(await tab.evaluate(() => window.sockets[0].extensions.split(';')[0]), 'permessage-deflate');
  for (let number = 0; number < 400; number += 1) {
    if (number % 4 === 3) await tab.evaluate((word) => window.sockets[0].send(word), word(number));
    else clients[number % 8].send(word(number));
  }
  await tab.waitForFunction(() => window.heard.every((words) => words.length === 400));
  while (clients.some((one) => one.heard.length < 400)) await pause(5);
  const inPage = await tab.evaluate(() => window.heard);
  for (const words of [...inPage, ...clients.map((one) => one.heard)]) {
    assert.deepEqual(words, clients[7].heard);
  }
  const all = Array.from({ length: 400 }, (_, number) => word(number));
  assert.deepEqual([...clients[7].heard].sort(), all.sort());
  clients.forEach((one) => one.close());
});
await library();
process.exit(0);
