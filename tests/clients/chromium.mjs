// Chromium with a profile of its own, which is gone when it ends.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

export async function withBrowser(work, options = {}) {
  const profile = await mkdtemp(join(tmpdir(), 'stentor-'));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    ...options,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  try {
    return await work(browser);
  } finally {
    await browser.close();
    await rm(profile, { recursive: true, force: true });
  }
}

// Runs the wanted parts of a script in one browser, or all of them; an error in a page fails its part.
export async function runParts(parts, wanted, options = {}) {
  await withBrowser(async (browser) => {
    const wrong = [];
    browser.on('weberror', (error) => wrong.push(error.error().stack));
    for (const name of wanted.length ? wanted : Object.keys(parts)) {
      await parts[name](browser).catch((error) => { throw new Error(name, { cause: error }); });
      assert.deepEqual(wrong, [], name);
    }
  }, options);
}
