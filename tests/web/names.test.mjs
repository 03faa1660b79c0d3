//! Proves how the page finds a name that nobody else has: its numbers, its limits, other tabs.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';

// Two tabs of one browser: the module twice, with the little of a window that it asks for.
globalThis.window = new EventTarget();
const [one, two] = await Promise.all(['?one', '?two'].map((copy) =>
  import(`../../src/web/names.js${copy}`)));
const say = (type, fields = {}) => window.dispatchEvent(Object.assign(new Event(type), fields));
after(() => say('pagehide')); // An open channel would keep Node waiting.

test('another name has the first number that is free', () => {
  const names = [['ann', [], 'ann-2'], ['ann', ['ann', 'ann-2', 'ann-3'], 'ann-4'],
    ['ann-2', ['ann-2'], 'ann-3'], ['ann-2', ['ann-2', 'ann-3'], 'ann-4'], ['a-b', [], 'a-b-2']];
  for (const [name, used, found] of names) {
    assert.equal(one.another(name, new Set(used)), found);
  }
});

test('another name is one that the server takes, however long the first was', () => {
  for (const name of ['x'.repeat(64), '語'.repeat(21), '😀'.repeat(16)]) {
    const found = one.another(name, new Set());
    assert.equal(one.fault('Name', found), '', found);
    assert.match(found, /-2$/);
  }
});

test('names that would confuse readers, or are too long, are told', () => {
  for (const name of ['a\nb', 'a\u202eb', '\u2067', 'x'.repeat(65), '語'.repeat(22)]) {
    assert.match(one.fault('Name', name), /^Name: /);
  }
  for (const name of ['', 'ann', 'سارة', 'x'.repeat(64), '👩‍🚀']) assert.equal(one.fault('Name', name), '');
});

test('tabs tell each other the names that they hold, and only those', async () => {
  assert.deepEqual(await one.namesOfTabs(), new Set());
  two.hold('ann');
  assert.deepEqual(await one.namesOfTabs(), new Set(['ann']));
  one.hold('bo');
  const [others, ofOne] = await Promise.all([one.namesOfTabs(), two.namesOfTabs()]);
  assert.deepEqual([others, ofOne], [new Set(['ann']), new Set(['bo'])]);
  two.hold('');
  assert.deepEqual(await one.namesOfTabs(), new Set());
});

test('a page that was hidden and comes back answers again', async () => {
  two.hold('ann');
  say('pagehide');
  say('pageshow', { persisted: true });
  assert.deepEqual(await one.namesOfTabs(), new Set(['ann']));
});
