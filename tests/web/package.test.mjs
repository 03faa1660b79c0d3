//! Proves that the one file is made of the modules as they are, and that the npm package is whole.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { bundle, files } from '../../clients/js/build.mjs';

const ROOT = new URL('../../', import.meta.url);
const PACKAGE = new URL('clients/js/', ROOT);
const CLIENTS = new URL('tests/clients/node_modules/', ROOT);
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

const MADE = ['react.cjs', 'react.d.cts', 'react.d.ts', 'react.js',
  'stentor.cjs', 'stentor.d.cts', 'stentor.d.ts', 'stentor.js'];

test('npm packs the library, its hooks, their types, the README and the licences', async () => {
  const { status, stdout, stderr } = spawnSync('npm', ['pack', '--dry-run', '--json', '--offline'],
    { cwd: fileURLToPath(PACKAGE), encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  const report = Object.values(JSON.parse(stdout.slice(stdout.search(/^[[{]/m))))[0];
  assert.deepEqual(report.files.map((file) => file.path).sort(),
    ['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'package.json', ...MADE]);
  assert.deepEqual(Object.keys(await files()).sort(), MADE);
  assert.ok(report.unpackedSize < 300_000, `${report.unpackedSize} bytes`);
});

/** A folder in which the packed package is installed, beside packages of the tests. */
async function installed(t, others) {
  const folder = await mkdtemp(join(tmpdir(), 'stentor-'));
  t.after(() => rm(folder, { recursive: true }));
  const run = (command, args, cwd = folder) => {
    const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' });
    assert.equal(status, 0, stdout + stderr);
    return stdout;
  };
  run('npm', ['pack', '--offline', '--pack-destination', folder], fileURLToPath(PACKAGE));
  await writeFile(join(folder, 'package.json'), '{"private":true}');
  const tarball = `${manifest.name}-${manifest.version}.tgz`;
  run('npm', ['install', '--offline', '--no-audit', '--no-fund', '--omit=peer', `./${tarball}`]);
  for (const name of others) {
    await symlink(fileURLToPath(new URL(name, CLIENTS)), join(folder, 'node_modules', name));
  }
  return { folder, run };
}

const USE = `console.log([Default, Client].every((one) => one === Stentor), isFinal(3500),
  backoff(0, () => 1), new StentorError('x', 'y').code);`;

test('what npm packs can be imported and required by its name', async (t) => {
  const { folder, run } = await installed(t, []);
  const names = 'Client, Stentor, StentorError, backoff, isFinal';
  await writeFile(join(folder, 'use.mjs'),
    `import Default, { ${names} } from '${manifest.name}';\n${USE}`);
  await writeFile(join(folder, 'use.cjs'),
    `const { default: Default, ${names} } = require('${manifest.name}');\n${USE}`);
  for (const file of ['use.mjs', 'use.cjs']) {
    assert.equal(run(process.execPath, [file]), 'true true 500 x\n');
  }
  // Neither the library nor its installation needs React.
  await writeFile(join(folder, 'react.cjs'), `require('${manifest.name}/react')`);
  const { stderr } = spawnSync(process.execPath, ['react.cjs'], { cwd: folder, encoding: 'utf8' });
  assert.match(stderr, /Cannot find module 'react'/);
});

test('the hooks are there for both kinds of modules, with types', async (t) => {
  const { folder, run } = await installed(t, ['react', '@types', 'csstype']);
  const names = 'StentorProvider, useChannel, useConnection, useStentor';
  const use = `console.log([${names}].map((one) => typeof one).join());`;
  const from = `'${manifest.name}/react'`;
  await writeFile(join(folder, 'use.mjs'), `import { ${names} } from ${from};${use}`);
  await writeFile(join(folder, 'use.cjs'), `const { ${names} } = require(${from});${use}`);
  for (const file of ['use.mjs', 'use.cjs']) {
    assert.equal(run(process.execPath, [file]), 'function,function,function,function\n');
  }
  const typed = (how) => `
    ${how('Stentor', '')} ${how('useChannel, useConnection', '/react')}
    export function Chat(given: { client: import('${manifest.name}').Stentor }): string {
      const { messages, publish, status } = useChannel<{ text: string }>('chat', {
        client: given.client, history: 10, onMessage: ({ body }) => { void body.text; },
      });
      void publish({ text: 'x' });
      void publish(new Uint8Array(1));
      return status + useConnection(given.client) + messages.map((one) => one.body.text).join();
    }
    export const client = new Stentor(() => 'ws://host/ws');`;
  await writeFile(join(folder, 'use.mts'),
    typed((what, from) => `import { ${what} } from '${manifest.name}${from}';`));
  await writeFile(join(folder, 'use.cts'), typed((what, from) =>
    `import { ${what} } from '${manifest.name}${from}';`));
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({
    compilerOptions: {
      module: 'nodenext', target: 'es2022', lib: ['es2022'], strict: true, noEmit: true, types: [],
      exactOptionalPropertyTypes: true, skipLibCheck: true,
    },
    files: ['use.mts', 'use.cts'],
  }));
  const tsc = fileURLToPath(new URL('typescript7/bin/tsc', CLIENTS));
  assert.equal(run(process.execPath, [tsc, '--project', '.']), '');
});
