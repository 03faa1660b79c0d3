// Chromium on the dashboard: the numbers, who may see them, what may be done, and how well it can be read.
// Usage: node dashboard.mjs http://ADMIN/ ws://ADDRESS KEY READ-KEY [PART…]. With SCREENSHOTS=FOLDER it leaves pictures there.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import WebSocket from 'ws';
import { runParts } from './chromium.mjs';

const [admin, server, key, readKey, ...wanted] = process.argv.slice(2);
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const isLive = (tab) => tab.locator('#state', { hasText: /^Live$/ }).waitFor();

async function open(browser) {
  const tab = await browser.newPage();
  tab.setDefaultTimeout(60_000);
  await tab.goto(new URL('dashboard', admin).href);
  return tab;
}

async function enter(browser, withKey = key) {
  const tab = await open(browser);
  await tab.locator('#key').fill(withKey);
  await tab.keyboard.press('Enter');
  await isLive(tab);
  return tab;
}

async function connect(channel, user) {
  const client = new WebSocket(`${server}/ws?channel=${channel}&user=${user}`, 'stentor.v1');
  client.texts = [];
  client.on('message', (text) => client.texts.push(String(text)));
  client.ended = new Promise((resolve) => { client.on('close', resolve); });
  await new Promise((resolve, reject) => client.on('open', resolve).on('error', reject));
  return client;
}

async function stats() {
  const answer = await fetch(new URL('api/stats', admin), { headers: { 'X-API-Key': key } });
  return answer.json();
}

/** Polls until something is true. */
async function until(what, isTrue) {
  const end = Date.now() + 30_000;
  while (!await isTrue()) {
    assert.ok(Date.now() < end, `never: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
}

async function look(tab, name) {
  if (process.env.SCREENSHOTS) await tab.screenshot({ path: `${process.env.SCREENSHOTS}/${name}.png`, fullPage: true });
  // The policy of the page lets nothing in but its own files: the checker comes over the debugger.
  await tab.evaluate(axe);
  const { violations } = await tab.evaluate(() => globalThis.axe.run());
  assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), [], name);
  const { wide, shown } = await tab.evaluate(() => ({ wide: document.documentElement.scrollWidth, shown: innerWidth }));
  assert.ok(wide <= shown, `${name} is ${wide} pixels wide in a window of ${shown}`);
}

/** Without the key the page has no number and asks; with a wrong one it says so. */
async function locked(browser) {
  const tab = await open(browser);
  await tab.locator('#login').waitFor();
  assert.equal(await tab.locator('#panels').isVisible(), false);
  assert.equal(await tab.locator('[data-n=clients]').textContent(), '–');
  await look(tab, 'sign-in');
  await tab.locator('#key').fill('not the key');
  await tab.locator('#login button').click();
  await tab.locator('#login-error', { hasText: 'does not take this key' }).waitFor();
  assert.equal(await tab.locator('#panels').isVisible(), false);
  assert.equal(await tab.evaluate(() => sessionStorage.length), 0);
  assert.ok(!(await tab.content()).includes('not the key'));

  // The right one lasts for the tab, and is gone with "Sign out".
  await tab.locator('#key').fill(key);
  await tab.keyboard.press('Enter');
  await isLive(tab);
  await tab.reload();
  await isLive(tab);
  await tab.locator('#leave').click();
  await tab.locator('#login').waitFor();
  assert.equal(await tab.evaluate(() => sessionStorage.length), 0);
  await tab.close();
}

/** What is shown is what `/api/stats` tells. */
async function numbers(browser) {
  const clients = await Promise.all(Array.from({ length: 7 }, (_, index) => connect('numbers', `user-${index}`)));
  const tab = await enter(browser);
  await tab.locator('[data-n=clients]', { hasText: /^7$/ }).waitFor();
  const { total, shards } = await stats();
  assert.equal(total.clients, 7);
  for (const { shard, core, clients: here } of shards) {
    const line = tab.locator(`#shards tr[data-key="${shard}"]`);
    assert.equal(await line.locator('th').textContent(), `${shard} (core ${core})`);
    assert.equal(await line.locator('td').first().textContent(), String(here));
  }
  const channel = tab.locator('#channels tr[data-key=numbers]');
  assert.equal(await channel.locator('td').first().textContent(), '7');

  // Publications are seen as a rate, and in the heat map's text.
  const publishing = setInterval(() => clients[0].send('{"type":"publish","channel":"numbers","body":1}'), 20);
  await until('publications are shown', async () => Number(await channel.locator('td').nth(1).textContent()) > 5);
  await tab.locator('#heat-text', { hasText: 'the median was' }).waitFor({ state: 'attached' });
  await until('deliveries are shown', async () =>
    Number((await tab.locator('[data-n=deliveries]').textContent()).replace(/,/g, '')) > 35);
  clearInterval(publishing);

  clients.forEach((client) => client.close());
  await tab.locator('[data-n=clients]', { hasText: /^0$/ }).waitFor();
  await tab.locator('#ends li[data-key=goodbye]').waitFor();
  const ended = (await stats()).shards.reduce((sum, shard) => sum + shard.disconnects.goodbye, 0);
  assert.match(await tab.locator('#ends li[data-key=goodbye] .value').textContent(), new RegExp(`^${ended} `));
  await tab.close();
}

async function act(tab, name, fields, question) {
  await tab.locator(`[data-action=${name}]`).click();
  for (const [field, value] of Object.entries(fields)) {
    const input = tab.locator(`#field-${field}`);
    if (await input.evaluate((node) => node.matches('select'))) await input.selectOption(value);
    else await input.fill(value);
  }
  if (Object.keys(fields).length) await tab.locator('#dialog-go').click();
  await tab.locator('#dialog-title', { hasText: question }).waitFor();
}

/** Actions ask once more, do what they say, and say what came of it. */
async function actions(browser) {
  const [ann, bob] = [await connect('acts', 'ann'), await connect('acts', 'bob')];
  const tab = await enter(browser);
  await act(tab, 'publish', { channel: 'acts', data: '{"hello": 1}' }, 'Publish this to every client of acts?');
  await look(tab, 'question');
  // Enter answers "Cancel", which has the focus.
  await tab.keyboard.press('Enter');
  await tab.locator('#dialog').waitFor({ state: 'hidden' });
  assert.ok(!ann.texts.some((text) => text.includes('hello')));
  await act(tab, 'publish', { channel: 'acts', data: '{"hello": 1}' }, 'Publish this');
  await tab.locator('#dialog-go').click();
  await tab.locator('#outcome', { hasText: 'Published to acts as number 1.' }).waitFor();
  await until('ann hears it', () => ann.texts.some((text) => text.includes('"hello": 1')));

  await act(tab, 'disconnect', { kind: 'user', name: 'ann' }, 'Close all clients of user ann?');
  await tab.locator('#dialog-go').click();
  await tab.locator('#outcome', { hasText: 'Closed 1 client.' }).waitFor();
  assert.equal(await ann.ended, 3501);
  await act(tab, 'revoke', { kind: 'user', name: 'cy' }, 'Revoke all tokens of user cy?');
  await tab.locator('#dialog-go').click();
  await tab.locator('#outcome', { hasText: 'Revoked' }).waitFor();
  await act(tab, 'reload', {}, 'Read the settings again');
  await tab.locator('#dialog-go').click();
  await tab.locator('#outcome', { hasText: 'Reloaded' }).waitFor();

  // A refusal is shown where it was asked.
  await act(tab, 'publish', { channel: 'x'.repeat(5000), data: '1' }, 'Publish this');
  await tab.locator('#dialog-go').click();
  await tab.locator('#dialog-error', { hasText: 'The server refuses' }).waitFor();
  await tab.keyboard.press('Escape');
  bob.close();
  await tab.close();
}

/** A client that stops reading is listed with its outbox, and can be closed where it stands. */
async function slow(browser) {
  const [stopped, talker] = [await connect('slow', 'stopped'), await connect('slow', 'talker')];
  stopped._socket.pause();
  const tab = await enter(browser);
  assert.ok(await tab.locator('#slow-empty').isVisible());
  const body = JSON.stringify({ type: 'publish', channel: 'slow', body: 'x'.repeat(30_000) });
  const talking = setInterval(() => talker.send(body), 20);
  const line = tab.locator('#slow tr', { hasText: 'stopped' });
  await line.waitFor();
  clearInterval(talking);
  assert.match(await line.locator('td').first().textContent(), /^[\d.]+ [KM]iB$/);
  assert.equal(await tab.locator('#slow tr').count(), 1);
  await look(tab, 'slow');
  await line.getByRole('button', { name: 'Disconnect stopped' }).click();
  assert.equal(await tab.locator('#field-kind').inputValue(), 'client');
  await tab.locator('#dialog-go').click();
  await tab.locator('#dialog-title', { hasText: /^Close client \d+-\d+-\d+\?$/ }).waitFor();
  await tab.locator('#dialog-go').click();
  await tab.locator('#outcome', { hasText: 'Closed 1 client.' }).waitFor();
  stopped._socket.resume();
  assert.equal(await stopped.ended, 3501);
  await line.waitFor({ state: 'detached' });
  talker.close();
  await tab.close();
}

/** The key for reading shows everything and changes nothing. */
async function readOnly(browser) {
  const tab = await enter(browser, readKey);
  await tab.locator('[data-n=clients]', { hasText: /^\d+$/ }).waitFor();
  assert.equal(await tab.locator('#actions').isVisible(), false);
  for (const method of ['publish', 'drain', 'reload', 'disconnect']) {
    const status = await tab.evaluate(async ([method, key]) => (await fetch(`../api/${method}`, {
      method: 'POST', headers: { 'X-API-Key': key }, body: '{"channel":"x","data":1}',
    })).status, [method, readKey]);
    assert.equal(status, 403, method);
  }
  await tab.close();
}

/** No fault for people who read with other means, in each look, and no page wider than its window. */
async function looks(browser) {
  const clients = await Promise.all(Array.from({ length: 5 }, (_, index) => connect(`room-${index % 2}`, `user-${index}`)));
  const tab = await enter(browser);
  await tab.locator('#channels tr').first().waitFor();
  for (const [width, height] of [[360, 740], [820, 1100], [1440, 900]]) {
    await tab.setViewportSize({ width, height });
    for (const colorScheme of ['light', 'dark']) {
      await tab.emulateMedia({ colorScheme });
      await look(tab, `${width}-${colorScheme}`);
    }
  }
  await tab.emulateMedia({ colorScheme: 'light', forcedColors: 'active' });
  await look(tab, 'forced');
  await tab.emulateMedia({ forcedColors: 'none', reducedMotion: 'reduce' });
  const animation = await tab.locator('.dot').evaluate((dot) => getComputedStyle(dot).animationName);
  assert.equal(animation, 'none');

  // The switch wins over the system, and is kept.
  await tab.locator('#theme').selectOption('dark');
  const scheme = () => tab.evaluate(() => getComputedStyle(document.documentElement).colorScheme);
  assert.equal(await scheme(), 'dark');
  await tab.reload();
  await isLive(tab);
  assert.equal(await scheme(), 'dark');
  await tab.locator('#theme').selectOption('auto');
  clients.forEach((client) => client.close());
  await tab.close();
}

/** The last action: the server leaves, and the page says so. */
async function drain(browser) {
  const tab = await enter(browser);
  await act(tab, 'drain', { word: 'drain' }, 'Close all clients and end this process?');
  await tab.locator('#dialog-go').click();
  await tab.locator('#banner', { hasText: /drains|is lost/ }).waitFor();
  await tab.locator('#state', { hasText: 'Connection lost' }).waitFor();
  await tab.close();
}

await runParts({ locked, numbers, actions, slow, readOnly, looks, drain }, wanted);
