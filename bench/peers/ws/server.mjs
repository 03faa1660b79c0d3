// The broadcast server of ws's own documentation: what one client says goes to every client that is open.
import { WebSocket, WebSocketServer } from "ws";

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  backlog: 4096,
  perMessageDeflate: false,
  maxPayload: 64 << 10,
});

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
