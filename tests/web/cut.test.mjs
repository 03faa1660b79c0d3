//! Proves over real sockets that clients which are cut at random miss nothing and hear nothing twice.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { serve } from './mock.mjs';

const SCRIPT = fileURLToPath(new URL('../clients/recovery.mjs', import.meta.url));

test('clients behind a proxy that cuts them hear each publication once', async () => {
  const { port, close } = await serve();
  const child = spawn(process.execPath, [SCRIPT, `ws://127.0.0.1:${port}`]);
  const told = [];
  child.stderr.on('data', (data) => told.push(data));
  const [status] = await once(child, 'close');
  await close();
  assert.equal(status, 0, told.join(''));
});
