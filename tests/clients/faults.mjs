// stentor.js behind the fault proxy, in Node on npm's ws or, with `chromium`, in a page. Prints the faults that it wants,
// and reads a line when each is in force.
import { createInterface } from 'node:readline';
import WebSocket from 'ws';
import { Stentor } from '../../src/web/stentor.js';
import { withBrowser } from './chromium.mjs';
import { scenarios } from './fault_scenarios.mjs';

const [far, near, where] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const fault = async (name) => {
  console.log(`fault ${name}`);
  await lines.next();
};
const log = (text) => console.error(`${where}: ${text}`);
const [farUrl, nearUrl] = [`ws://${far}/ws`, `ws://${near}/ws`];

async function inPage(browser) {
  const page = await browser.newPage();
  await page.exposeFunction('fault', fault);
  await page.exposeFunction('log', log);
  // The page of the server itself, which is not struck; a blank part of it, so that only ours connects.
  await page.goto(`http://${near}/stentor.d.ts`);
  await page.evaluate(`(async () => {
    const { Stentor } = await import('/stentor.js');
    await (${scenarios})({ Stentor, WebSocket, farUrl: '${farUrl}', nearUrl: '${nearUrl}', fault, log });
  })()`);
}

if (where === 'chromium') await withBrowser(inPage);
else await scenarios({ Stentor, WebSocket, farUrl, nearUrl, fault, log });
process.exit(0);
