//! Proves how the dashboard reads the stream, shows numbers, and what it derives from them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jsonOf } from '../../src/dashboard/actions.js';
import { amount, bytes, count, duration, mark, micros, percent, rate } from '../../src/dashboard/format.js';
import { rowsShown } from '../../src/dashboard/heat.js';
import { Events } from '../../src/dashboard/live.js';
import { Columns, REASONS, headroom, imbalance, urgency } from '../../src/dashboard/model.js';
import { readFile } from 'node:fs/promises';

test('numbers keep three digits that count', () => {
  for (const [number, text] of [[0, '0'], [9_999, '9,999'], [56_789, '56.8k'], [999_999, '1.00M'],
    [1_234_567, '1.23M'], [undefined, '–'], [null, '–']]) assert.equal(count(number), text);
  for (const [number, text] of [[0, '0'], [0.04, '<0.1'], [2.25, '2.3'], [41.6, '42']]) assert.equal(rate(number), text);
  for (const [number, text] of [[0, '0 B'], [1023, '1,023 B'], [1536, '1.50 KiB'], [24.9 * 2 ** 20, '24.9 MiB'],
    [200 * 2 ** 30, '200 GiB']]) assert.equal(bytes(number), text);
  for (const [us, text] of [[17, '17 µs'], [4_559, '4.56 ms'], [20_000, '20.0 ms'], [2e6, '2.00 s']]) {
    assert.equal(micros(us), text);
  }
  assert.deepEqual([mark(20_000), mark(2e6), mark(500)], ['20 ms', '2 s', '500 µs']);
  assert.deepEqual([percent(0.004), percent(0), percent(0.375)], ['<1 %', '0 %', '38 %']);
});

test('times and limits are told in their units', () => {
  for (const [seconds, text] of [[59.9, '59 s'], [61, '1 min 1 s'], [7_260, '2 h 1 min'], [90_000, '1 d 1 h']]) {
    assert.equal(duration(seconds), text);
  }
  assert.deepEqual([amount(1.5, 'cores'), amount(2, 'cores'), amount(0.05, 'cores')], ['1.5 cores', '2 cores', '0.05 cores']);
  assert.deepEqual([amount(1024, 'bytes'), amount(20_000, ''), amount(null, '')], ['1.00 KiB', '20.0k', 'no limit']);
});

test('events are read from pieces of any size', () => {
  const text = 'event: hello\ndata: {"a":1}\n\nevent: snapshot\ndata: {"b":"x\\ny"}\n\n';
  for (const size of [1, 7, 1000]) {
    const events = new Events();
    const read = [];
    for (let at = 0; at < text.length; at += size) read.push(...events.take(text.slice(at, at + size)));
    assert.deepEqual(read, [['hello', { a: 1 }], ['snapshot', { b: 'x\ny' }]]);
  }
});

const column = (ms, clients = 1) => [ms, 10, 1, clients, 0, 0.5, [0, 1]];

test('the charts hold five minutes, and show a shorter time where less is there', () => {
  const columns = new Columns([column(10_000), null, column(1000, 2)]);
  assert.deepEqual([columns.span, columns.list.length], [60_000, 2]);
  assert.deepEqual(columns.series('clients'), [[1000, 1], [0, 2]]);
  for (let second = 0; second < 60; second += 1) columns.add(column(1000));
  assert.equal(columns.span, 120_000);
  for (let second = 0; second < 1000; second += 1) columns.add(column(1000));
  assert.equal(columns.span, 300_000);
  assert.ok(columns.list.length >= 300 && columns.list.length <= 301, `${columns.list.length}`);
});

test('the rows of the heat map are those with something in them', () => {
  const rows = (...filled) => Array.from({ length: 18 }, (_, row) => (filled.includes(row) ? 3 : 0));
  const shown = (...lists) => rowsShown(lists.map((one) => ({ rows: one })), 18);
  assert.deepEqual(shown(rows(4), rows(9)), [3, 10]);
  assert.deepEqual(shown(rows(0)), [0, 5]);
  assert.deepEqual(shown(rows(17)), [12, 17]);
  assert.deepEqual(shown(rows()), [2, 9]);
});

test('the head-room is that of the tightest limit that grows with the load', () => {
  const limits = [{ limit: 'CPU', used: 0.5, max: 2, grows: true }, { limit: 'files', used: 250, max: 500, grows: true },
    { limit: 'locked', used: 9, max: 10, grows: false }, { limit: 'none', used: 9, max: null, grows: true },
    { limit: 'idle', used: 0, max: 10, grows: true }];
  assert.deepEqual(headroom(limits, [{ shard: 0, busy: 0.2 }]), { limit: 'files', times: 2 });
  const uneven = headroom(limits, [{ shard: 0, busy: 0.1 }, { shard: 1, busy: 0.8 }]);
  assert.deepEqual(uneven, { limit: 'CPU time of shard 1', times: 1.25 });
  assert.equal(headroom([], [{ shard: 0, busy: 0 }]), null);
  assert.deepEqual([imbalance([30, 10]), imbalance([5]), imbalance([0, 0])], [1.5, 1, 1]);
  assert.deepEqual([urgency(0.5), urgency(0.7), urgency(0.9)], ['good', 'wait', 'bad']);
});

test('every reason for which the server closes has words', async () => {
  const source = await readFile(new URL('../../shards/src/close.rs', import.meta.url), 'utf8');
  const labels = [...source.matchAll(/Self::\w+ => \(.*, "([a-z0-9_]+)"\),/g)].map(([, label]) => label);
  assert.ok(labels.length >= 20, `${labels.length}`);
  assert.deepEqual(labels.filter((label) => !REASONS[label]), []);
});

test('data that is JSON is published as it is written', () => {
  for (const json of ['{"a" : 12345678901234567890}', '1', '"x"', 'null']) assert.equal(jsonOf(json), json);
  for (const text of ['hello', '{a: 1}', '']) assert.equal(jsonOf(text), JSON.stringify(text));
});
