// npm's pusher checks a webhook of ours, and refuses one that was changed.
import assert from 'node:assert/strict';
import Pusher from 'pusher';

const { headers, body } = JSON.parse(process.argv[2]);
const pusher = new Pusher({ appId: '1', key: 'app-key', secret: 'app-secret', host: '127.0.0.1' });
const webhook = pusher.webhook({ headers, rawBody: body });
assert.ok(webhook.isValid());
assert.equal(webhook.getEvents()[0].channel, 'news');
assert.ok(Math.abs(webhook.getTime() - Date.now()) < 60_000, `${webhook.getTime()}`);
assert.ok(!pusher.webhook({ headers, rawBody: body.replace('news', 'newt') }).isValid());
