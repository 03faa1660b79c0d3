// A proxy of connections that can be cut at any moment, in the middle of a message too, and that can stop reading what
// the server sends.
import net from 'node:net';

export async function cuttingProxy(address) {
  const { hostname, port } = new URL(address);
  const pairs = new Set();
  const server = net.createServer((near) => {
    const far = net.connect(Number(port), hostname);
    const pair = [near, far];
    pairs.add(pair);
    for (const [from, to] of [pair, [far, near]]) {
      from.on('data', (data) => to.write(data));
      from.on('error', () => {});
      from.on('close', () => {
        pairs.delete(pair);
        to.destroy();
      });
    }
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const cut = (odds = 1, random = Math.random) => {
    const chosen = [...pairs].filter(() => random() < odds);
    chosen.forEach((pair) => pair.forEach((socket) => socket.resetAndDestroy()));
    return chosen.length;
  };
  /** Reads nothing more from the server, or reads on. */
  const hold = (holds) => pairs.forEach(([, far]) => (holds ? far.pause() : far.resume()));
  return { url: `ws://127.0.0.1:${server.address().port}`, cut, hold, close: () => server.close() };
}
