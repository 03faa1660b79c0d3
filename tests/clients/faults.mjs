// stentor.js behind the fault proxy, in Node on npm's ws or, with `chromium`, in a page. Prints the faults that it wants,
// and reads a line when each is in force.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';
import WebSocket from 'ws';
import { Stentor } from '../../src/web/stentor.js';
import { scenarios } from './fault_scenarios.mjs';

const [far, near, where] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const fault = async (name) => {
  console.log(`fault ${name}`);
  await lines.next();
};
const log = (text) => console.error(`${where}: ${text}`);
const [farUrl, nearUrl] = [`ws://${far}/ws`, `ws://${near}/ws`];

async function inPage() {
  const profile = await mkdtemp(join(tmpdir(), 'stentor-'));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  try {
    const page = await browser.newPage();
    await page.exposeFunction('fault', fault);
    await page.exposeFunction('log', log);
    // The page of the server itself, which is not struck; a blank part of it, so that only ours connects.
    await page.goto(`http://${near}/stentor.d.ts`);
    await page.evaluate(`(async () => {
      const { Stentor } = await import('/stentor.js');
      await (${scenarios})({ Stentor, WebSocket, farUrl: '${farUrl}', nearUrl: '${nearUrl}', fault, log });
    })()`);
  } finally {
    await browser.close();
    await rm(profile, { recursive: true, force: true });
  }
}

if (where === 'chromium') await inPage();
else await scenarios({ Stentor, WebSocket, farUrl, nearUrl, fault, log });
process.exit(0);
