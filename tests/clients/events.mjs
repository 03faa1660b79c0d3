// Chromium's own EventSource on /sse, behind a proxy that cuts: it comes back by itself and misses nothing.
import assert from 'node:assert/strict';
import { withBrowser } from './chromium.mjs';
import { cuttingProxy } from './cutting.mjs';

const [address, admin] = process.argv.slice(2);

async function publish(text) {
  const answer = await fetch(`http://${admin}/api/publish`, {
    method: 'POST', body: JSON.stringify({ channel: 'room', data: text }),
  });
  assert.equal(answer.status, 200);
}

const proxy = await cuttingProxy(`ws://${address}`);
const page = proxy.url.replace('ws:', 'http:');
await withBrowser(async (browser) => {
  const tab = await browser.newPage();
  tab.setDefaultTimeout(60_000);
  await tab.goto(`${page}/`);
  await tab.evaluate(() => {
    window.heard = [];
    window.recovered = [];
    window.opened = 0;
    const source = new EventSource('/sse?channel=room');
    source.onopen = () => { window.opened += 1; };
    source.onmessage = (event) => window.heard.push(event.data);
    source.addEventListener('recovered', (event) => window.recovered.push(event.data));
  });
  const wait = (count) => tab.waitForFunction((count) => window.heard.length >= count, count);
  await tab.waitForFunction(() => window.opened === 1);
  await publish('one');
  await publish('two\nlines');
  await wait(2);
  proxy.cut();
  await publish('three');
  await wait(3);
  await publish('four');
  await wait(4);
  assert.deepEqual(await tab.evaluate(() => window.heard), ['one', 'two\nlines', 'three', 'four']);
  assert.deepEqual(await tab.evaluate(() => window.recovered), ['true']);
});
proxy.close();
