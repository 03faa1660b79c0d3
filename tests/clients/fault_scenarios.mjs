// What stentor.js does on a path that is cut, held back, ended, late, slow or damaged. Runs in Node and, as text, in a
// page: it may use nothing but what it is given and what both have. `fault` strikes the path to `far` only.

export async function scenarios({ Stentor, WebSocket, farUrl, nearUrl, fault, log }) {
  const options = { WebSocket, pingInterval: 400, pongTimeout: 600, connectTimeout: 1_500, stableAfter: 50 };
  const check = (what, found, wanted) => {
    const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
    if (a !== b) throw new Error(`${what}: ${a}, not ${b}`);
  };
  const until = async (what, holds) => {
    const end = performance.now() + 20_000;
    while (!holds()) {
      if (performance.now() > end) throw new Error(`never: ${what}`);
      await new Promise((resolve) => { setTimeout(resolve, 5); });
    }
  };

  // One client beyond the proxy, which must come back by itself, and one beside it that nothing happens to.
  async function pair(name, run) {
    const [far, near] = [farUrl, nearUrl].map((url) => new Stentor(url, options));
    const heard = { far: [], near: [] };
    const closes = [];
    const joins = [];
    let joinedBefore = 0;
    far.on('close', (close) => {
      closes.push(close);
      joinedBefore = joins.length;
    });
    far.on('joined', (joined) => joined.own && joins.push(joined));
    await Promise.all([
      far.join(name, { onmessage: (m) => heard.far.push(m.body) }),
      near.join(name, { onmessage: (m) => heard.near.push(m.body) }),
    ]);
    const back = async () => {
      await fault('clear');
      const began = performance.now();
      await until('it is back', () => far.state === 'connected' && joins.length > joinedBefore);
      return performance.now() - began;
    };
    await run({ far, near, heard, closes, joins, back });
    log(`${name}: ${closes.map(({ code, reason }) => `${code} ${reason}`).join(', ') || 'stays'}`);
    far.close();
    near.close();
    await fault('clear');
  }

  await pair('cut', async ({ far, near, heard, closes, joins, back }) => {
    await near.publish('cut', 'before');
    await until('it is heard', () => heard.far.length === 1);
    // Until it is cleared again no connect succeeds either.
    await fault('held');
    await fault('cut');
    await until('it knows', () => closes.length > 0);
    for (const body of ['missed 1', 'missed 2', 'missed 3']) await near.publish('cut', body);
    const queued = far.publish('cut', 'queued', { timeout: 30_000 });
    await back();
    await queued;
    await until('all is heard', () => heard.far.length === 2 && heard.near.length === 5);
    check('heard beyond', heard.far, ['before', 'queued']);
    check('heard beside', heard.near, ['before', 'missed 1', 'missed 2', 'missed 3', 'queued']);
    check('told what it missed', joins.at(-1).missed, 3);
    check('the end that it saw', closes[0].code, 1006);
  });

  await pair('in flight', async ({ far, near, heard, closes, back }) => {
    // Its answer never comes: whether it was heard is not known, and it is not said twice.
    await fault('held');
    const lost = far.publish('in flight', 'once').then(() => 'acknowledged', (error) => error.code);
    await fault('cut');
    check('what it is told', await lost, 'lost');
    await back();
    await near.publish('in flight', 'after');
    await until('it is heard', () => heard.far.includes('after'));
    check('heard beside', heard.near.filter((body) => body === 'once').length < 2, true);
    check('closes', closes[0].code, 1006);
  });

  await pair('held', async ({ closes, back }) => {
    const began = performance.now();
    await fault('held');
    await until('its watchdog notices', () => closes.length > 0);
    const noticed = performance.now() - began;
    check('why', closes[0].reason, 'nothing heard in time');
    check(`noticed after ${noticed} ms`, noticed > 500 && noticed < 5_000, true);
    const took = await back();
    check(`back after ${took} ms`, took < 15_000, true);
  });

  for (const end of ['end of server', 'end of client']) {
    await pair(end, async ({ far, near, heard, closes, back }) => {
      await fault(end);
      await until('it knows', () => closes.length > 0);
      await back();
      await near.publish(end, 'again');
      await far.publish(end, 'and back');
      await until('both hear', () => heard.far.length === 2 && heard.near.length === 2);
    });
  }

  await pair('late', async ({ far, near, heard, closes }) => {
    await fault('late'); // 150 ms each way
    const took = await far.ping();
    check(`a round trip takes ${took} ms`, took >= 300, true);
    const bodies = [...Array(50).keys()];
    await Promise.all(bodies.map((body) => far.publish('late', body)));
    await Promise.all(bodies.map((body) => near.publish('late', body)));
    await until('all is heard', () => heard.far.length === 100);
    check('in order', heard.far, [...bodies, ...bodies]);
    check('closes', closes, []);
  });

  await pair('slow', async ({ near, heard, closes }) => {
    await fault('slow'); // 20,000 bytes a second to the client
    const bodies = [...Array(40).keys()].map((number) => `${number} ${'x'.repeat(400)}`);
    for (const body of bodies) await near.publish('slow', body);
    await until('all is heard', () => heard.far.length === bodies.length);
    check('whole and in order', heard.far, bodies);
    check('closes', closes, []);
  });

  await pair('damaged', async ({ far, near, heard, closes }) => {
    await fault('damaged');
    for (let number = 0; number < 200 && !closes.length; number += 1) await near.publish('damaged', 'x'.repeat(100));
    await until('it is noticed', () => closes.length > 0);
    await fault('clear');
    // Where the end is final it stays away, as the same client would meet the same end; asked to, it comes back.
    await until('it has decided', () => far.state === 'connected' || far.state === 'disconnected');
    far.connect();
    await far.join('damaged');
    await near.publish('damaged', 'sound');
    await until('it is heard', () => heard.far.at(-1) === 'sound');
  });
}
