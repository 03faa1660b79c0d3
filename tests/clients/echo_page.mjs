// Laravel Echo with pusher-js in Chromium, in two tabs of a page as an application has it: the page comes from its own
// server, which also signs. Private and presence channels, whispers, and events of the backend.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import Pusher from 'pusher';
import { withBrowser } from './chromium.mjs';

const [host, port] = process.argv[2].split(':');
const library = new URL('node_modules/pusher-js/dist/web/pusher.min.js', import.meta.url);
const echo = new URL('node_modules/laravel-echo/dist/echo.iife.js', import.meta.url);

const html = `<!doctype html><meta charset="utf-8"><title>Echo</title>
<h1>Laravel Echo</h1><p id="state"></p><ul id="heard"></ul>
<script src="/pusher.js"></script><script src="/echo.js"></script>
<script>
  const user = location.hash.slice(1);
  const say = (text) => document.querySelector('#heard').append(
    Object.assign(document.createElement('li'), { textContent: text }));
  window.echo = new Echo.default({
    broadcaster: 'pusher', key: 'key', cluster: '', wsHost: '${host}', wsPort: ${port}, forceTLS: false,
    enabledTransports: ['ws', 'wss'], authEndpoint: '/broadcasting/auth', auth: { headers: { 'X-User': user } },
  });
  echo.connector.pusher.connection.bind('state_change', ({ current }) => {
    document.querySelector('#state').textContent = current;
  });
  const names = (members) => members.map((one) => one.name).sort().join(' ');
  echo.private('orders').listen('.shipped', ({ id }) => say('order ' + id))
    .listenForWhisper('typing', ({ by }) => say(by + ' types'))
    .subscribed(() => say('in orders')).error(({ status }) => say('orders: ' + status));
  echo.join('room').here((members) => say('here: ' + names(members)))
    .joining(({ name }) => say(name + ' comes')).leaving(({ name }) => say(name + ' goes'))
    .listen('.news', ({ text }) => say('news: ' + text));
  echo.channel('public').listen('.told', ({ text }) => say('told: ' + text)).subscribed(() => say('in public'));
</script>`;

const sign = (text) => `key:${createHmac('sha256', 'secret').update(text).digest('hex')}`;

// The answer of Laravel's own route for authorization.
function authorize(user, form) {
  const [socket, channel] = [form.get('socket_id'), form.get('channel_name')];
  if (!channel.startsWith('presence-')) return { auth: sign(`${socket}:${channel}`) };
  const channel_data = JSON.stringify({ user_id: user, user_info: { name: user } });
  return { auth: sign(`${socket}:${channel}:${channel_data}`), channel_data };
}

const files = { '/': [html, 'text/html'] };
files['/pusher.js'] = [await readFile(library), 'text/javascript'];
files['/echo.js'] = [await readFile(echo), 'text/javascript'];
const site = createServer(async (request, response) => {
  if (request.url === '/broadcasting/auth') {
    let body = '';
    for await (const part of request) body += part;
    const user = request.headers['x-user'];
    if (user === 'eve') return response.writeHead(403).end();
    return response.writeHead(200, { 'Content-Type': 'application/json' })
      .end(JSON.stringify(authorize(user, new URLSearchParams(body))));
  }
  const [text, type] = files[request.url] ?? ['', 'text/plain'];
  return response.writeHead(text ? 200 : 404, { 'Content-Type': type }).end(text);
});
await new Promise((done) => site.listen(0, '127.0.0.1', done));
const page = `http://127.0.0.1:${site.address().port}/`;
const backend = new Pusher({ appId: '1', key: 'key', secret: 'secret', host, port, useTLS: false });

try {
  await withBrowser(async (browser) => {
    const wrong = [];
    browser.on('weberror', (error) => wrong.push(error.error().stack));
    const tab = async (user) => {
      const tab = await browser.newPage();
      tab.setDefaultTimeout(30_000);
      await tab.goto(`${page}#${user}`);
      await tab.locator('#state', { hasText: /^connected$/ }).waitFor();
      return tab;
    };
    const hears = (tab, text) => tab.locator('#heard li').getByText(text, { exact: true }).waitFor();
    const ann = await tab('ann');
    for (const text of ['in orders', 'here: ann', 'in public']) await hears(ann, text);
    const bob = await tab('bob');
    await Promise.all([hears(bob, 'here: ann bob'), hears(ann, 'bob comes'), hears(bob, 'in orders')]);
    await ann.evaluate(() => window.echo.private('orders').whisper('typing', { by: 'ann' }));
    await hears(bob, 'ann types');
    await hears(bob, 'in public');
    await backend.trigger('private-orders', 'shipped', { id: 7 });
    await backend.trigger('presence-room', 'news', { text: 'é "quoted"' });
    await Promise.all([ann, bob].flatMap((tab) => [hears(tab, 'order 7'), hears(tab, 'news: é "quoted"')]));
    // An event that a tab has caused comes to the others.
    const socket_id = await ann.evaluate(() => window.echo.socketId());
    await backend.trigger('public', 'told', { text: 'once' }, { socket_id });
    await hears(bob, 'told: once');
    await backend.trigger('public', 'told', { text: 'to all' });
    await hears(ann, 'told: to all');
    for (const text of ['ann types', 'told: once']) {
      assert.equal(await ann.locator('#heard li').getByText(text, { exact: true }).count(), 0, text);
    }
    const eve = await tab('eve');
    await Promise.all([hears(eve, 'orders: 403'), hears(eve, 'in public')]);
    if (process.env.SCREENSHOT) await ann.screenshot({ path: process.env.SCREENSHOT });
    await bob.close();
    await hears(ann, 'bob goes');
    assert.deepEqual(wrong, []);
  });
} finally {
  site.close();
}
