//! Proves that stentor.d.ts compiles under the strictest settings of TypeScript 5, 6 and 7.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const CLIENTS = new URL('../clients/node_modules/', import.meta.url);
const TYPES = new URL('types/', import.meta.url);
const path = (name, base) => fileURLToPath(new URL(name, base));

const STRICTEST = ['strict', 'exactOptionalPropertyTypes', 'noUncheckedIndexedAccess',
  'noPropertyAccessFromIndexSignature', 'noImplicitOverride', 'noImplicitReturns',
  'noFallthroughCasesInSwitch', 'noUnusedLocals', 'noUnusedParameters', 'isolatedModules',
  'verbatimModuleSyntax', 'noUncheckedSideEffectImports', 'forceConsistentCasingInFileNames'];
const REFUSED = ['skipLibCheck', 'allowUnusedLabels', 'allowUnreachableCode'];

// The types that stand beside the library's own, and the files that must compile with them.
const KINDS = {
  'no DOM': [{ lib: ['ES2022'], types: [] }, ['examples.ts']],
  DOM: [{ lib: ['ES2022', 'DOM'], types: [] }, ['examples.ts', 'dom.ts', 'browser.ts']],
  Node: [{ lib: ['ES2022'], types: ['node'], typeRoots: [path('@types', CLIENTS)] },
    ['examples.ts', 'dom.ts']],
};

async function compile(version, kind) {
  const tsc = path(`typescript${version}/bin/tsc`, CLIENTS);
  assert.ok(existsSync(tsc), `${tsc} is not there: scripts/setup.sh installs it`);
  const [types, files] = KINDS[kind];
  const compilerOptions = {
    target: 'ES2022', module: 'preserve', noEmit: true, ...types,
    ...Object.fromEntries(STRICTEST.map((name) => [name, true])),
    ...Object.fromEntries(REFUSED.map((name) => [name, false])),
  };
  const folder = await mkdtemp(join(tmpdir(), 'stentor-'));
  const project = join(folder, 'tsconfig.json');
  await writeFile(project, JSON.stringify(
    { compilerOptions, files: files.map((name) => path(name, TYPES)) }));
  const child = spawn(process.execPath, [tsc, '--project', project]);
  const told = [];
  child.stdout.on('data', (data) => told.push(data));
  child.stderr.on('data', (data) => told.push(data));
  const [status] = await once(child, 'close');
  await rm(folder, { recursive: true });
  return { status, told: told.join('') };
}

for (const version of [5, 6, 7]) {
  // Node's types take the older compilers half a minute on a slow machine.
  for (const kind of Object.keys(KINDS).filter((name) => name !== 'Node' || version === 7)) {
    test(`TypeScript ${version} takes the types with ${kind}`, async () => {
      const { status, told } = await compile(version, kind);
      assert.equal(told, '');
      assert.equal(status, 0);
    });
  }
}
