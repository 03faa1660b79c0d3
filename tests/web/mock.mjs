//! A stand-in server to look at the page with: `node mock.mjs [PORT]`.
// It speaks enough of stentor.v1 for a chat with history. It checks nothing, and forgets with its end.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

// Installed by scripts/setup.sh.
const { WebSocketServer } = createRequire(new URL('../clients/', import.meta.url))('ws');
const WEB = new URL('../../src/web/', import.meta.url);
const TYPES = {
  html: 'text/html', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml', ts: 'text/plain',
};

/** Listens on `port` of the loopback address; 0 takes any. */
export async function serve(port = 0) {
  const clients = new Map(); // socket -> {id, user, channels: name -> presence}
  const rings = new Map(); // channel -> its publications, all of them.
  const epoch = `mock-${Date.now()}`;
  let ids = 0;

  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://x');
    const name = pathname === '/' ? 'index.html' : pathname.slice(1);
    try {
      const body = await readFile(new URL(name.replace(/[^\w.]/g, ''), WEB));
      response.setHeader('content-type', `${TYPES[name.split('.').at(-1)]}; charset=utf-8`);
      response.setHeader('content-security-policy', "default-src 'self'");
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  const sockets = new WebSocketServer({ server, handleProtocols: () => 'stentor.v1' });
  const say = (socket, message) => socket.send(JSON.stringify(message));
  const ring = (channel) => rings.get(channel) ?? rings.set(channel, []).get(channel);
  const members = (channel) => [...clients].filter(([, c]) => c.channels.has(channel));
  const tell = (channel, type, { id, user }) => members(channel)
    .filter(([, c]) => c.channels.get(channel) && c.id !== id)
    .forEach(([socket]) => say(socket, { type, channel, client: id, user }));

  const answers = {
    publish(socket, client, { channel, body, id }) {
      const offset = ring(channel).length + 1;
      const from = { client: client.id, user: client.user };
      const message = { type: 'message', channel, offset, from, time: Date.now(), body };
      ring(channel).push(message);
      members(channel).forEach(([to]) => say(to, message));
      if (id) say(socket, { type: 'ack', id, channel, offset, epoch });
    },
    direct(socket, client, { user, body, id }) {
      const to = [...clients].filter(([, c]) => c.user === user);
      const from = { client: client.id, user: client.user };
      to.forEach(([s]) => say(s, { type: 'message', direct: true, from, time: Date.now(), body }));
      if (to.length) say(socket, { type: 'ack', id, clients: to.length });
      else say(socket, { type: 'error', id, code: 'unknown_user', text: `no user ${user}` });
    },
    join(socket, client, { channel, presence = false, since, id }) {
      const recovered = since && since.epoch === epoch;
      if (recovered) ring(channel).slice(since.offset).forEach((message) => say(socket, message));
      client.channels.set(channel, presence);
      say(socket, { type: 'joined', id, channel, offset: ring(channel).length, epoch, recovered });
      tell(channel, 'joined', client);
    },
    history(socket, client, { channel, since, limit = 100, reverse = false, id }) {
      if (since && since.epoch !== epoch) {
        return say(socket, { type: 'error', id, code: 'wrong_epoch', text: 'another epoch' });
      }
      const all = ring(channel).slice(since?.offset ?? 0);
      const kept = (reverse ? all.reverse() : all).slice(0, limit);
      const publications = kept.map(({ type, channel: of, ...rest }) => rest);
      const more = all.length > limit;
      const offset = ring(channel).length;
      return say(socket, { type: 'history', id, channel, publications, offset, epoch, more });
    },
    leave(socket, client, { channel, id }) {
      client.channels.delete(channel);
      say(socket, { type: 'left', id, channel });
      tell(channel, 'left', client);
    },
    who(socket, client, { channel, id }) {
      const here = members(channel).map(([, c]) => c.user);
      const users = [...new Set(here.filter(Boolean))].sort();
      say(socket, { type: 'who', id, channel, clients: here.length, users, more: false });
    },
    ping: (socket, client, { id }) => say(socket, { type: 'pong', id }),
  };

  sockets.on('connection', (socket, request) => {
    const { searchParams } = new URL(request.url, 'http://x');
    const [user, channel] = ['user', 'channel'].map((name) => searchParams.get(name));
    const older = [...clients].find(([, c]) => user && c.user === user);
    const client = { id: ++ids, user, channels: new Map() };
    clients.set(socket, client);
    older?.[0].close(3500, 'replaced');
    const heartbeat = { ping_interval: 25, pong_timeout: 10, message_bytes: 65_536 };
    const named = channel === null ? {} : { epoch, offset: ring(channel).length };
    if (channel !== null) client.channels.set(channel, false);
    say(socket, { type: 'welcome', client: client.id, user, channel, ...named, ...heartbeat });
    socket.on('message', (data) => {
      const message = JSON.parse(data);
      answers[message.type]?.(socket, client, message);
    });
    socket.on('close', () => {
      clients.delete(socket);
      [...client.channels.keys()].forEach((channel) => tell(channel, 'left', client));
    });
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  const close = (code = 1001, reason = 'draining') => new Promise((resolve) => {
    sockets.clients.forEach((socket) => socket.close(code, reason));
    server.close(resolve);
    server.closeAllConnections();
  });
  return { port: server.address().port, close };
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const { port } = await serve(Number(process.argv[2] ?? 8009));
  process.stdout.write(`http://127.0.0.1:${port}/\n`);
}
