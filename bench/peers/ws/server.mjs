// The broadcast server of ws's own documentation: what one client says goes to every client that is open.
// server.mjs PORT [CERT KEY]
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { WebSocket, WebSocketServer } from "ws";

const [port, cert, key] = process.argv.slice(2);
const place = { host: "127.0.0.1", port: Number(port), backlog: 4096 };
const sealed = cert && createServer({ cert: readFileSync(cert), key: readFileSync(key) });
const server = new WebSocketServer({
  ...(sealed ? { server: sealed } : place),
  perMessageDeflate: false,
  maxPayload: 64 << 10,
});
sealed?.listen(place);

server.on("connection", (client) => {
  // A broken connection closes by itself; unheard, its error would end the process.
  client.on("error", () => {});
  client.on("message", (data, isBinary) => {
    const options = { binary: isBinary };
    for (const other of server.clients) {
      if (other.readyState === WebSocket.OPEN) other.send(data, options);
    }
  });
});
