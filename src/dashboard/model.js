// The page's knowledge beside the newest snapshot: the last minutes, and all that follows from the numbers.

/** The charts show the smallest of these spans that holds all columns, or the last one. */
const SPANS_MS = [60_000, 120_000, 180_000, 300_000];
const SPAN_MAX = SPANS_MS.at(-1);

const SERIES = ['ms', 'deliveries', 'publications', 'clients', 'outboxes', 'busy', 'rows'];

export class Columns {
  list = [];
  ms = 0;

  constructor(told = []) { told.forEach((one) => this.add(one)); }

  /** Takes a column as the server tells it: a list of numbers, and of rows of latencies. */
  add(told) {
    if (!Array.isArray(told) || !told.length) return;
    const column = Object.fromEntries(SERIES.map((name, index) => [name, told[index]]));
    this.list.push(column);
    this.ms += column.ms;
    while (this.list.length > 1 && this.ms - this.list[0].ms >= SPAN_MAX) {
      this.ms -= this.list.shift().ms;
    }
  }

  /** The time that the charts show, in milliseconds. */
  get span() { return SPANS_MS.find((span) => this.ms <= span) ?? SPAN_MAX; }

  /** Values of one series with their ages in milliseconds, the oldest first. */
  series(name) {
    let age = this.ms;
    return this.list.map((column) => {
      age -= column.ms;
      return [Math.max(age, 0), column[name]];
    });
  }
}

/**
 * How often the present load fits into the limits that grow with it, by the tightest of them. A shard is a limit of its
 * own: it has one core.
 */
export function headroom(limits, shards) {
  const busiest = shards.reduce((most, one) => (one.busy > (most?.busy ?? 0) ? one : most), null);
  const all = limits.filter((one) => one.grows && one.max > 0 && one.used > 0)
    .map((one) => ({ limit: one.limit, times: one.max / one.used }));
  if (busiest) all.push({ limit: `CPU time of shard ${busiest.shard}`, times: 1 / busiest.busy });
  all.sort((a, b) => a.times - b.times);
  return all[0] ?? null;
}

/** What a shard's share of something is beside the others: its part of the largest. */
export const shareOf = (value, all) => value / Math.max(...all, 1);

/** How far apart the shards are: the largest number of clients in relation to the mean. */
export function imbalance(counts) {
  const sum = counts.reduce((a, b) => a + b, 0);
  return sum && counts.length > 1 ? Math.max(...counts) / (sum / counts.length) : 1;
}

/** Why a connection ended, in words. The keys are the reasons in /api/stats. */
export const REASONS = {
  goodbye: 'said goodbye', gone: 'went without a word', drain: 'the server drains',
  protocol: 'broke the WebSocket protocol', utf8: 'sent invalid UTF-8', rate: 'sent too many messages',
  errors: 'made too many errors', too_large: 'sent too large a message', slow: 'outbox was full',
  stalled: 'outbox stood still', shard_full: 'all outboxes of the shard were full',
  silent: 'did not answer a ping', overtaken: 'lost publications', replaced: 'the user connected again',
  disconnected: 'the API asked for it', denied: 'was not allowed to publish', expired: 'token ended',
  revoked: 'token was revoked', stale: 'did not say who it is', disorderly: 'said who it is too late',
  dismissed: 'the backend sent it away', unauthorized: 'wrong signature', app_gone: 'the app is gone',
  unavailable: 'the engine is away',
};

/** Ends that an operator should look at, in a colour of their own. */
export const isTrouble = (reason) => !['goodbye', 'gone', 'drain', 'replaced', 'disconnected'].includes(reason);

/** How urgent a use is: from 70 % on it deserves a look, from 90 % on it is short. */
export function urgency(share) {
  if (share >= 0.9) return 'bad';
  return share >= 0.7 ? 'wait' : 'good';
}
