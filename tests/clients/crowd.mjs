// A crowd of stentor.js clients in one process that lose their server and come back by themselves. Prints `in` when all
// are in, `back MILLISECONDS` when all are back after they were out, and `done` when what was published then has reached
// all. Ends with 1 where anything was heard twice.
import WebSocket from 'ws';
import { Stentor } from '../../src/web/stentor.js';

const [url, count] = [process.argv[2], Number(process.argv[3])];
const NUMBERS = 4_096;
const until = async (holds) => {
  while (!holds()) await new Promise((resolve) => { setTimeout(resolve, 5); });
};

let [number, twice, joined, out] = [0, 0, 0, null];
const acknowledged = [];
const unknown = [];
const crowd = [];

function enter() {
  const client = new Stentor(`${url}/ws`, { WebSocket, pingInterval: 5_000 });
  const heard = new Uint8Array(NUMBERS);
  let inside = false;
  const step = (now) => {
    joined += now - inside;
    inside = now;
  };
  client.on('joined', () => step(true));
  client.on('close', () => {
    step(false);
    out ??= performance.now();
  });
  client.on('error', (error) => { throw error; });
  client.join('hall', { onmessage: ({ body }) => { twice += ++heard[body] > 1; } });
  crowd.push({ client, heard });
}

async function publish(client) {
  const own = number++;
  await client.publish('hall', own, { timeout: 60_000 })
    .then(() => acknowledged.push(own), (error) => unknown.push([own, error.code]));
  return own;
}

while (crowd.length < count) {
  for (let i = 0; i < 100 && crowd.length < count; i += 1) enter();
  await until(() => joined > crowd.length - 50);
}
await until(() => joined === count);
out = null; // An attempt that took too long on a busy machine is not what is measured.
console.log('in');

// Some go on talking while the server is away: what is queued is said once, later.
let over = false;
const talkers = crowd.slice(0, 4).map(async ({ client }) => {
  while (!over) {
    await publish(client);
    await new Promise((resolve) => { setTimeout(resolve, 500); });
  }
});

await until(() => out !== null);
await until(() => joined === count);
console.log(`back ${Math.round(performance.now() - out)}`);
over = true;
await Promise.all(talkers);

const last = await publish(crowd[0].client);
await until(() => crowd.every(({ heard }) => heard[last]));
if (twice) {
  console.error(`${twice} publications were heard twice`);
  process.exit(1);
}
console.error(`${acknowledged.length} acknowledged, unknown: ${JSON.stringify(unknown)}`);
console.log('done');
process.exit(0);
