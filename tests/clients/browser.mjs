// Chromium on the real page: two tabs chat, the server ends, another starts, and both come back by themselves.
import assert from 'node:assert/strict';
import { withBrowser } from './chromium.mjs';

const [page, pid] = process.argv.slice(2);

async function tab(browser, user) {
  const tab = await browser.newPage();
  tab.setDefaultTimeout(60_000);
  await tab.goto(`${page}?channel=hall&user=${user}`);
  await isConnected(tab);
  return tab;
}

// As a text "Connected" would be found in "Disconnected" too.
const isConnected = (tab) => tab.locator('#state', { hasText: /^Connected$/ }).waitFor();

async function say(tab, text) {
  await tab.locator('#text').fill(text);
  await tab.locator('#text').press('Enter');
}

const hears = (tab, text) => tab.locator('#messages .bubble', { hasText: text }).first().waitFor();

await withBrowser(async (browser) => {
  const [ann, bob] = [await tab(browser, 'ann'), await tab(browser, 'bob')];
  // A tab is connected before it is in its channel.
  await ann.locator('#people button[data-name="bob"]').waitFor();
  await bob.locator('#people button[data-name="ann"]').waitFor();
  await say(ann, 'hello from ann');
  await Promise.all([hears(ann, 'hello from ann'), hears(bob, 'hello from ann')]);
  await say(bob, '<b>not bold</b>');
  await hears(ann, '<b>not bold</b>');
  assert.equal(await ann.locator('#messages b', { hasText: 'not bold' }).count(), 0);
  await ann.locator('#people button[data-name="bob"]').waitFor();
  if (process.env.SCREENSHOT) await ann.screenshot({ path: process.env.SCREENSHOT });

  process.kill(Number(pid), 'SIGTERM');
  await ann.locator('#messages .note', { hasText: 'Connection closed.' }).first().waitFor();
  // The other server is started meanwhile; nobody presses anything. It counts from nothing.
  await ann.locator('#messages .note', { hasText: 'Connected again. The server has begun anew' })
    .first().waitFor();
  for (const tab of [ann, bob]) await isConnected(tab);
  await say(bob, 'back again');
  await Promise.all([hears(ann, 'back again'), hears(bob, 'back again')]);
  await hears(ann, 'hello from ann');

  // Who leaves comes back by the button, and not before.
  await ann.locator('#disconnect').click();
  await ann.locator('#state', { hasText: 'Disconnected' }).waitFor();
  await bob.locator('#people button[data-name="ann"]').waitFor({ state: 'detached' });
  await ann.locator('#retry').click();
  await isConnected(ann);
  await bob.locator('#people button[data-name="ann"]').waitFor();
  await say(bob, 'and once more');
  await hears(ann, 'and once more');
});
