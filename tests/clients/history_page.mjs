// Chromium on the page of a server that keeps history: its past on entering, and no message lost over reloads, cuts and
// the back/forward cache. Usage: node history_page.mjs http://ADDRESS/ [PART…]; SCREENSHOTS=FOLDER keeps pictures.
import assert from 'node:assert/strict';
import http from 'node:http';
import { runParts } from './chromium.mjs';

const [address, ...wanted] = process.argv.slice(2);
const at = (query) => `${address}?${new URLSearchParams(query)}`;
const isConnected = (tab) => tab.locator('#state', { hasText: /^Connected$/ }).waitFor();
const hears = (tab, text) => tab.locator('#messages .bubble', { hasText: text }).first().waitFor();
const shown = (tab) => tab.locator('#messages .bubble').allTextContents();
const notes = (tab) => tab.locator('#messages .note').allTextContents();

async function enter(browser, query) {
  const tab = await browser.newPage();
  tab.setDefaultTimeout(30_000);
  await tab.goto(at(query));
  await isConnected(tab);
  return tab;
}

async function say(tab, ...texts) {
  for (const text of texts) {
    await tab.locator('#text').fill(text);
    await tab.locator('#text').press('Enter');
    await hears(tab, text);
  }
}

async function shoot(tab, name) {
  if (process.env.SCREENSHOTS) await tab.screenshot({ path: `${process.env.SCREENSHOTS}/${name}.png` });
}

async function past(browser) {
  const ann = await enter(browser, { channel: 'past', user: 'ann' });
  await say(ann, 'one', 'two', 'three');
  const bob = await enter(browser, { channel: 'past', user: 'bob' });
  await hears(bob, 'three');
  assert.deepEqual(await shown(bob), ['one', 'two', 'three']);
  await say(ann, 'four');
  await hears(bob, 'four');
  await bob.reload();
  await isConnected(bob);
  await say(ann, 'five');
  await hears(bob, 'five');
  assert.deepEqual(await shown(bob), ['one', 'two', 'three', 'four', 'five']);
  await shoot(bob, 'past');
  await Promise.all([ann.close(), bob.close()]);
}

/** What is said while a page is elsewhere is there when it comes back, from the cache or anew. */
async function elsewhere(browser) {
  const other = http.createServer((_, answer) => answer.end('<title>elsewhere</title>'));
  await new Promise((resolve) => { other.listen(0, '127.0.0.1', resolve); });
  const ann = await enter(browser, { channel: 'else', user: 'ann' });
  const bob = await enter(browser, { channel: 'else', user: 'bob' });
  await say(ann, 'before');
  await hears(bob, 'before');
  await bob.evaluate(() => { window.isTheSame = true; });
  await bob.goto(`http://127.0.0.1:${other.address().port}/`);
  await say(ann, 'meanwhile', 'and again');
  await bob.goBack({ waitUntil: 'commit' }); // From the cache there is no load.
  await hears(bob, 'and again');
  await isConnected(bob);
  console.error(`from the back/forward cache: ${await bob.evaluate(() => !!window.isTheSame)}`);
  await say(ann, 'after');
  await hears(bob, 'after');
  assert.deepEqual(await shown(bob), ['before', 'meanwhile', 'and again', 'after']);
  await Promise.all([ann.close(), bob.close()]);
  other.close();
}

/** The page's own connection ends, and what was said meanwhile is shown as if it had not. */
async function away(browser) {
  const ann = await enter(browser, { channel: 'away', user: 'ann' });
  const bob = await enter(browser, { channel: 'away', user: 'bob' });
  await say(ann, 'before');
  await hears(bob, 'before');
  await bob.locator('#disconnect').click();
  await bob.locator('#state', { hasText: 'Disconnected' }).waitFor();
  await say(ann, 'meanwhile', 'and again');
  await bob.locator('#retry').click();
  await hears(bob, 'and again');
  assert.deepEqual(await shown(bob), ['before', 'meanwhile', 'and again']);
  await bob.locator('#messages .note', { hasText: 'Connected again.' }).waitFor();
  assert.ok((await notes(bob)).every((note) => !/missed/.test(note)), await notes(bob));
  await shoot(bob, 'away');
  await Promise.all([ann.close(), bob.close()]);
}

await runParts({ past, elsewhere, away }, wanted, { ignoreDefaultArgs: ['--disable-back-forward-cache'] });
