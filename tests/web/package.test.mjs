//! Proves that the one file is made of the modules as they are, and that the npm package is whole.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { bundle } from '../../clients/js/build.mjs';

const ROOT = new URL('../../', import.meta.url);
const PACKAGE = new URL('clients/js/', ROOT);
const read = (name, base = ROOT) => readFile(new URL(name, base), 'utf8');
const manifest = JSON.parse(await read('package.json', PACKAGE));

test('the file that is served is made of the modules', async () => {
  const served = await read('src/web/stentor.js');
  assert.ok(served === await bundle(), 'run `node clients/js/build.mjs`');
});

test('no module is left out, and each is read in one sitting', async () => {
  const text = await bundle();
  for (const file of await readdir(new URL('src/', PACKAGE))) {
    const source = await read(`src/${file}`, PACKAGE);
    assert.ok(text.includes(`// ---- ${file.replace('.js', '')}: `), file);
    assert.ok(source.startsWith('//! '), `${file} does not say what lives in it`);
    const lines = source.split('\n');
    assert.ok(lines.length <= 400, `${file} is longer than 400 lines`);
    assert.ok(lines.every((line) => line.length <= 100), `${file} has a line of over 100`);
  }
});

test('the package has the version and the licence of the server', async () => {
  const cargo = await read('Cargo.toml');
  assert.equal(manifest.version, cargo.match(/^version = "([^"]+)"/m)[1]);
  assert.equal(manifest.license, cargo.match(/^license = "([^"]+)"/m)[1]);
});

test('npm packs the library, its types, its README and the licences, and nothing else', () => {
  const { status, stdout, stderr } = spawnSync('npm', ['pack', '--dry-run', '--json', '--offline'],
    { cwd: fileURLToPath(PACKAGE), encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  const report = Object.values(JSON.parse(stdout.slice(stdout.search(/^[[{]/m))))[0];
  assert.deepEqual(report.files.map((file) => file.path).sort(),
    ['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'package.json', 'stentor.d.ts', 'stentor.js']);
});

test('what npm packs can be installed and imported by its name', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'stentor-'));
  const run = (command, args, cwd = folder) => {
    const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    return stdout;
  };
  try {
    run('npm', ['pack', '--offline', '--pack-destination', folder], fileURLToPath(PACKAGE));
    await writeFile(join(folder, 'package.json'), '{"private":true,"type":"module"}');
    const tarball = `${manifest.name}-${manifest.version}.tgz`;
    run('npm', ['install', '--offline', '--no-audit', '--no-fund', `./${tarball}`]);
    await writeFile(join(folder, 'use.js'), `
      import Default, { Client, Stentor, StentorError, backoff, isFinal } from '${manifest.name}';
      console.log([Default, Client].every((one) => one === Stentor), isFinal(3500),
        backoff(0, () => 1), new StentorError('x', 'y').code);`);
    assert.equal(run(process.execPath, ['use.js']), 'true true 500 x\n');
  } finally {
    await rm(folder, { recursive: true });
  }
});
