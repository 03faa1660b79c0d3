// Chromium on the real page: input methods, tabs and their names, a path of a proxy, and letters from right to left.
// Usage: node page.mjs http://ADDRESS/ [PART…]. With SCREENSHOTS=FOLDER it leaves a picture of each look there.
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import WebSocket from 'ws';
import { runParts, withBrowser } from './chromium.mjs';

const [address, ...wanted] = process.argv.slice(2);
const page = new URL(address);

const at = (query) => `${page}?${new URLSearchParams(query)}`;
const isConnected = (tab) => tab.locator('#state', { hasText: /^Connected$/ }).waitFor();
const nameOf = (tab) => tab.locator('#you').textContent();
const hears = (tab, text) => tab.locator('#messages .bubble', { hasText: text }).first().waitFor();
const isOpen = (tab) => tab.locator('#entry[open]').waitFor();

async function open(browser, url) {
  const tab = await browser.newPage();
  tab.setDefaultTimeout(60_000);
  await tab.goto(url);
  return tab;
}

async function enter(browser, query) {
  const tab = await open(browser, at(query));
  await isConnected(tab);
  return tab;
}

async function say(tab, text) {
  await tab.locator('#text').fill(text);
  await tab.locator('#text').press('Enter');
}

/** An Enter in the message field, as the browser of `keyCode` and `isComposing` tells of it. */
const pressEnter = (tab, init) => tab.locator('#text').evaluate((text, fields) => {
  text.focus();
  text.dispatchEvent(new CompositionEvent('compositionstart', { bubbles: true }));
  if (!fields.isComposing) text.dispatchEvent(new CompositionEvent('compositionend', { bubbles: true }));
  const options = { key: 'Enter', bubbles: true, cancelable: true, ...fields };
  text.dispatchEvent(new KeyboardEvent('keydown', options));
}, init);

async function inputMethods(browser) {
  const tab = await enter(browser, { channel: 'ime', user: 'taro' });
  await tab.locator('#text').fill('こんにち');
  await pressEnter(tab, { isComposing: true, keyCode: 229 }); // While it composes.
  await pressEnter(tab, { isComposing: false, keyCode: 229 }); // Safari, right after it.
  assert.equal(await tab.locator('#text').inputValue(), 'こんにち');
  await pressEnter(tab, { isComposing: false, keyCode: 13 });
  await hears(tab, 'こんにち');
  assert.equal(await tab.locator('#messages .message').count(), 1);
  await tab.close();
}

/** The two tabs of the README: the first is given a name, the second only Enter. */
async function secondTab(browser) {
  const [one, two] = [await open(browser, page.href), await open(browser, page.href)];
  await isOpen(one);
  await one.locator('#user').fill('ann');
  await one.locator('#join').click();
  await isConnected(one);
  await two.reload();
  await isOpen(two);
  assert.equal(await two.locator('#user').inputValue(), 'ann-2');
  await two.keyboard.press('Enter');
  await isConnected(two);
  await say(two, 'from the second');
  await hears(one, 'from the second');
  await say(one, 'from the first');
  await hears(two, 'from the first');
  assert.deepEqual([await nameOf(one), await nameOf(two)], ['ann', 'ann-2']);

  // A reload keeps the name of its tab without a question.
  await two.reload();
  await isConnected(two);
  assert.equal(await nameOf(two), 'ann-2');
  await hears(two, 'from the first');
  await Promise.all([one.close(), two.close()]);
}

async function duplicatedTab(browser) {
  for (const user of ['', 'bo']) {
    const one = await open(browser, at({ channel: 'dup', user }));
    await isConnected(one);
    const name = await nameOf(one);
    // A window that is opened gets a copy of the session's storage, as a duplicate does.
    const [two] = await Promise.all([browser.waitForEvent('page'),
      one.evaluate(() => void window.open(location.href, '_blank'))]);
    two.setDefaultTimeout(60_000);
    if (user) {
      await isOpen(two);
      assert.equal(await two.locator('#taken-name').textContent(), 'bo');
      assert.equal(await two.locator('#user').inputValue(), 'bo-2');
      await two.locator('#join').click();
    }
    await isConnected(two);
    assert.notEqual(await nameOf(two), name);
    await isConnected(one);
    await say(two, `hello from a copy of ${name}`);
    await hears(one, `hello from a copy of ${name}`);
    assert.equal(await nameOf(one), name);
    await Promise.all([one.close(), two.close()]);
  }
}

/** Somebody in another browser has the name: the server tells, and whoever insists gets it. */
async function takenName(browser) {
  const cy = await enter(browser, { channel: 'hall', user: 'cy' });
  await withBrowser(async (other) => {
    const late = await open(other, at({ channel: 'hall', user: 'cy' }));
    await isOpen(late);
    await isConnected(cy);
    await shoot(late, 'taken');
    await late.locator('#take').click();
    await isConnected(late);
    assert.equal(await nameOf(late), 'cy');

    // Who was replaced is told, and asked what to do.
    await cy.locator('#banner-text', { hasText: 'somewhere else' }).waitFor();
    await shoot(cy, 'replaced');
    await cy.locator('#retry').click();
    await isOpen(cy);
    assert.equal(await cy.locator('#user').inputValue(), 'cy-2');
    await cy.locator('#join').click();
    await isConnected(cy);
    await isConnected(late);
    await say(cy, 'I am back');
    await hears(late, 'I am back');

    // A name that has become free meanwhile needs no question.
    await late.locator('#disconnect').click();
    await late.locator('#state', { hasText: 'Disconnected' }).waitFor();
    await late.locator('#retry').click();
    await isConnected(late);
    assert.equal(await nameOf(late), 'cy');
  });
  await cy.close();
}

/** A proxy that serves all of `page` under `/deep/chat/`, as nginx does with a URI in proxy_pass. */
async function prefixed() {
  const strip = (url) => (url.startsWith('/deep/chat/') ? url.slice('/deep/chat'.length) : null);
  const proxy = http.createServer((asked, answer) => {
    if (!strip(asked.url)) return answer.writeHead(404).end();
    const { method, headers } = asked;
    const url = new URL(strip(asked.url), page);
    asked.pipe(http.request(url, { method, headers }, (told) => {
      answer.writeHead(told.statusCode, told.headers);
      told.pipe(answer);
    }));
  });
  proxy.on('upgrade', ({ url, rawHeaders }, socket) => {
    if (!strip(url)) return socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n');
    const up = net.connect(page.port, page.hostname);
    const head = rawHeaders.map((part, n) => (n % 2 ? `${part}\r\n` : `${part}: `)).join('');
    up.write(`GET ${strip(url)} HTTP/1.1\r\n${head}\r\n`);
    up.pipe(socket).pipe(up);
    up.on('error', () => socket.destroy());
    socket.on('error', () => up.destroy());
  });
  await new Promise((resolve) => { proxy.listen(0, '127.0.0.1', resolve); });
  return { proxy, url: `http://127.0.0.1:${proxy.address().port}/deep/chat/` };
}

async function underAPath(browser) {
  const { proxy, url } = await prefixed();
  const asked = [];
  const tab = await browser.newPage();
  tab.on('websocket', (socket) => asked.push(new URL(socket.url()).pathname));
  await tab.goto(`${url}?channel=sub&user=dee`);
  await isConnected(tab);
  await say(tab, 'from below');
  await hears(tab, 'from below');
  assert.deepEqual([...new Set(asked)], ['/deep/chat/ws']);
  await tab.close();
  proxy.close();
}

async function rightToLeft(browser) {
  const arabic = await enter(browser, { channel: 'غرفة 1', user: 'سارة (2)' });
  const english = await enter(browser, { channel: 'غرفة 1', user: 'eve' });
  await english.locator('#people button[data-name="سارة (2)"]').waitFor();
  await say(arabic, 'مرحبا، كيف الحال؟ (1) ok!');
  await hears(english, 'مرحبا');
  await say(english, 'fine, thanks');
  await hears(arabic, 'fine, thanks');
  const direction = (tab, text) => tab.locator('#messages .bubble', { hasText: text })
    .evaluate((bubble) => getComputedStyle(bubble).direction);
  assert.equal(await direction(english, 'مرحبا'), 'rtl');
  assert.equal(await direction(english, 'fine'), 'ltr');
  // The name stands left of the time, though its letters go the other way.
  const who = english.locator('#messages .message:not(.mine) .who').first();
  const [name, time] = await Promise.all([who.locator('b').boundingBox(), who.locator('time').boundingBox()]);
  assert.ok(name.x + name.width <= time.x);
  await shoot(english, 'right-to-left');
  await Promise.all([arabic.close(), english.close()]);
}

async function tooLong(browser) {
  const tab = await enter(browser, { channel: 'long', user: 'fay' });
  await say(tab, 'é'.repeat(40_000));
  await tab.locator('#problem', { hasText: 'Too long' }).waitFor();
  assert.equal((await tab.locator('#text').inputValue()).length, 40_000);
  await isConnected(tab);
  await say(tab, 'shorter');
  await hears(tab, 'shorter');
  await tab.close();
}

/** In a channel above --presence-names (3) nobody is told of by name, and the page counts. */
async function largeChannel(browser) {
  const tab = await enter(browser, { channel: 'hall', user: 'ann' });
  const counts = (count) => tab.locator('#count', { hasText: new RegExp(`^${count}$`) }).waitFor();
  const others = [];
  const come = async (name) => {
    const url = new URL(`/ws?channel=hall&user=${name}`, address.replace('http', 'ws'));
    const other = new WebSocket(url, 'stentor.v1');
    await new Promise((resolve, reject) => {
      other.on('open', resolve);
      other.on('error', reject);
    });
    others.push(other);
  };
  await counts(1);
  await come('bob');
  await counts(2);
  await tab.locator('#messages .note', { hasText: /bob\S? joined/ }).waitFor(); // Isolated from its line.
  for (let number = 0; number < 10; number += 1) await come(`u${number}`);
  await counts(12);
  const notes = await tab.locator('#messages .note').allTextContents();
  assert.ok(!notes.some((note) => note.includes('u9')), `named though there are many: ${notes}`);
  await shoot(tab, 'large-channel');
  // It shrinks: names are told again.
  for (const other of others.splice(1)) other.close();
  await counts(2);
  others[0].close();
  await counts(1);
  await tab.locator('#messages .note', { hasText: /bob\S? left/ }).waitFor();
  await tab.close();
}

async function shoot(tab, name) {
  if (!process.env.SCREENSHOTS) return;
  for (const colorScheme of ['light', 'dark']) {
    for (const [width, height] of [[1100, 720], [390, 760]]) {
      await tab.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await tab.setViewportSize({ width, height });
      await tab.screenshot({ path: `${process.env.SCREENSHOTS}/${name}-${colorScheme}-${width}.png` });
    }
  }
  await tab.setViewportSize({ width: 1280, height: 720 });
}

await runParts({ inputMethods, secondTab, duplicatedTab, takenName, underAPath, rightToLeft, tooLong, largeChannel }, wanted);
