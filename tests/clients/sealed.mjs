// Chromium on the page within TLS: two tabs chat, a WebSocket of one's own and events of the server pass, and HTTP/1.1 is spoken.
import assert from 'node:assert/strict';
import { withBrowser } from './chromium.mjs';

const [page] = process.argv.slice(2);

async function tab(browser, user) {
  const tab = await browser.newPage();
  tab.setDefaultTimeout(60_000);
  await tab.goto(`${page}?channel=hall&user=${user}`);
  await tab.locator('#state', { hasText: /^Connected$/ }).waitFor();
  return tab;
}

// Runs in the page.
async function talk() {
  const url = `wss://${location.host}/ws?channel=own`;
  const socket = new WebSocket(url);
  const heard = await new Promise((resolve, reject) => {
    socket.onerror = () => reject(new Error('no connection'));
    const parts = [];
    socket.onmessage = ({ data }) => { parts.push(data); if (parts.length === 2) resolve(parts); };
    socket.onopen = () => { socket.send('short'); socket.send('x'.repeat(50_000)); };
  });
  socket.close(1000);
  const entry = performance.getEntriesByType('navigation')[0];
  return { lengths: heard.map((text) => text.length), protocol: entry.nextHopProtocol, url: location.protocol };
}

await withBrowser(async (browser) => {
  const [ann, bob] = [await tab(browser, 'ann'), await tab(browser, 'bob')];
  await ann.locator('#people button[data-name="bob"]').waitFor();
  await ann.locator('#text').fill('hello within TLS');
  await ann.locator('#text').press('Enter');
  for (const tab of [ann, bob]) {
    await tab.locator('#messages .bubble', { hasText: 'hello within TLS' }).first().waitFor();
  }
  assert.deepEqual(await ann.evaluate(talk), { lengths: [5, 50_000], protocol: 'http/1.1', url: 'https:' });
  if (process.env.SCREENSHOT) await ann.screenshot({ path: process.env.SCREENSHOT });
}, { ignoreHTTPSErrors: true });
