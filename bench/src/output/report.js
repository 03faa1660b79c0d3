// Draws the charts of a report from the runs in #data. Text goes into the page as text only.
'use strict';
(() => {
  const runs = JSON.parse(document.getElementById('data').textContent);
  const NAMES = {
    delivery: 'publish to each receipt', last: 'publish to last receipt', echo: 'echo',
    handshake: 'handshake', service: 'sent to each receipt', late: 'generator late by',
  };
  const SVG = 'http://www.w3.org/2000/svg';
  const DASHES = ['none', '8 3', '2 3', '9 3 2 3', '14 4', '5 2 2 2 2 2', '4 4'];
  const COLOURS = 7;
  const HINT = 'Point at the chart, or focus it and use the arrow keys.';
  const MARGIN = { left: 60, right: 16, top: 10, bottom: 26 };
  const CELLS_PER_DECADE = 10;
  const named = Object.keys(NAMES).filter((name) => runs.some((run) => run.curves[name]));
  const hidden = new Set();
  let shown = named[0];
  let logarithmic = true;

  const byId = (id) => document.getElementById(id);
  // Runs beyond the palette begin again, with other dashes.
  const stroke = (index) => ({
    class: 'run', style: `stroke: var(--run${index % COLOURS})`,
    'stroke-dasharray': DASHES[(index + Math.floor(index / COLOURS)) % DASHES.length],
  });

  function add(parent, name, attributes = {}, text = '') {
    const node = document.createElementNS(name === 'svg' ? SVG : parent.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text) node.textContent = text;
    parent.append(node);
    return node;
  }

  const digits = (value) => String(Number(value.toPrecision(3)));
  const percent = (share) => `${digits(share * 100)} %`;
  function time(ms) {
    if (ms == null) return 'none';
    if (ms < 0.001) return `${digits(ms * 1e6)} ns`;
    if (ms < 1) return `${digits(ms * 1000)} µs`;
    return ms < 1000 ? `${digits(ms)} ms` : `${digits(ms / 1000)} s`;
  }
  function count(value) {
    if (value >= 1e6) return `${digits(value / 1e6)} M`;
    return value >= 1e4 ? `${digits(value / 1000)} k` : digits(value);
  }
  function quantile(inverse) {
    const decimals = Math.max(0, Math.ceil(Math.log10(inverse) - 1e-9) - 1);
    return `${Number((100 - 100 / inverse).toFixed(decimals))} %`;
  }

  // A scale says where a value lies, from 0 to 1, and which values have a line: [value, label].
  function linear(max, write) {
    const rough = Math.max(max, 1e-9) / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
    const lines = Math.max(1, Math.ceil(max / step - 1e-9));
    const ticks = Array.from({ length: lines + 1 }, (_, n) => [n * step, write(n * step)]);
    return { at: (value) => value / (lines * step), ticks };
  }
  function log(min, max, write) {
    const steps = [];
    for (let power = Math.floor(Math.log10(min)); power <= Math.ceil(Math.log10(max)); power += 1) {
      for (const factor of [1, 2, 5]) steps.push([factor * 10 ** power, factor]);
    }
    const low = Math.max(...steps.map(([step]) => step).filter((step) => step <= min * 1.001));
    const high = Math.min(
      ...steps.map(([step]) => step).filter((step) => step >= max * 0.999 && step > low * 1.5));
    const all = high / low < 200;
    const ticks = steps.filter(([step]) => step > low * 0.99 && step < high * 1.01)
      .map(([step, factor]) => [step, all || factor === 1 ? write(step) : '']);
    return { at: (value) => Math.log10(value / low) / Math.log10(high / low), ticks };
  }
  function nines(max) {
    const decades = Math.max(1, Math.log10(max));
    const ticks = [...Array(Math.floor(decades + 1e-9) + 1).keys()]
      .map((nine) => [10 ** nine, quantile(10 ** nine)]);
    return { at: (value) => Math.log10(value) / decades, ticks };
  }
  function seconds(max) {
    const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 1e9]
      .find((length) => max / length <= 8);
    const write = (s) => (max > 240 ? `${digits(s / 60)} min` : `${s} s`);
    const ticks = [...Array(Math.floor(max / step + 1e-9) + 1).keys()]
      .map((n) => [n * step, write(n * step)]);
    return { at: (value) => value / max, ticks };
  }

  // A chart in `figure`: axes, `lines` of {index, points, name}, whatever `under` draws before
  // them, and below it what `read` says of the stop next to the pointer.
  function chart(figure, { title, hint, x, y, height, lines, under, stops, read }) {
    const focused = figure.contains(document.activeElement);
    figure.replaceChildren();
    if (title.visible) add(figure, 'figcaption', {}, title.text);
    const label = `${title.text}. The arrow keys read its values; the table of figures sums it up.`;
    const plot = add(figure, 'div',
      { class: 'plot', tabindex: 0, role: 'img', 'aria-label': label });
    const width = Math.max(240, figure.clientWidth);
    const inner = { width: width - MARGIN.left - MARGIN.right, height };
    const px = (value) => MARGIN.left + x.at(value) * inner.width;
    const py = (value) => MARGIN.top + (1 - y.at(value)) * inner.height;
    const total = height + MARGIN.top + MARGIN.bottom;
    const svg = add(plot, 'svg', { width, height: total, viewBox: `0 0 ${width} ${total}` });
    axes(svg, { x, y, px, py, width, height });
    if (under) under(svg, px, py);
    for (const { index, points, name, style } of lines) {
      const path = points.map(([at, value], n) => (value == null ? '' : `${
        n === 0 || points[n - 1][1] == null ? 'M' : 'L'}${px(at).toFixed(1)} ${
        py(value).toFixed(1)}`)).join('');
      add(add(svg, 'path', { d: path, ...(style || stroke(index)) }), 'title', {}, name);
    }
    const cursor = add(svg, 'line', {
      class: 'cursor', y1: MARGIN.top, y2: MARGIN.top + height, visibility: 'hidden',
    });
    const readout = add(figure, 'p', { class: 'readout', 'aria-live': 'polite' }, hint);
    let stop = -1;
    const go = (to) => {
      stop = Math.min(stops.length - 1, Math.max(0, to));
      if (stops.length === 0) return;
      const at = px(stops[stop]).toFixed(1);
      for (const [key, value] of Object.entries({ x1: at, x2: at, visibility: 'visible' })) {
        cursor.setAttribute(key, value);
      }
      readout.replaceChildren();
      const [where, ...values] = read(stops[stop]);
      add(readout, 'b', {}, where);
      for (const value of values) add(readout, 'span', {}, value);
    };
    plot.addEventListener('pointermove', (event) => {
      const at = event.clientX - svg.getBoundingClientRect().left;
      const distance = (value) => Math.abs(px(value) - at);
      go(stops.reduce((best, value, n) => (distance(value) < distance(stops[best]) ? n : best), 0));
    });
    plot.addEventListener('keydown', (event) => {
      const to = {
        ArrowRight: stop + 1, ArrowLeft: stop - 1, Home: 0, End: stops.length - 1,
        PageDown: stop + 10, PageUp: stop - 10,
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      go(to);
    });
    if (focused) plot.focus();
  }

  function axes(svg, { x, y, px, py, width, height }) {
    const bottom = MARGIN.top + height;
    for (const [value, label] of y.ticks) {
      const at = py(value).toFixed(1);
      const grid = label ? 'grid' : 'grid minor';
      add(svg, 'line', { class: grid, x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at });
      add(svg, 'text', { x: MARGIN.left - 8, y: +at + 4, 'text-anchor': 'end' }, label);
    }
    let free = -Infinity;
    for (const [value, label] of x.ticks) {
      const at = px(value);
      add(svg, 'line', { class: 'grid', x1: at, x2: at, y1: MARGIN.top, y2: bottom });
      const half = label.length * 3.8;
      const middle = Math.min(at, width - half);
      // A label that would touch the one before it is left out.
      if (middle - half < free) continue;
      free = middle + half + 6;
      add(svg, 'text', { x: middle, y: bottom + 18, 'text-anchor': 'middle' }, label);
    }
    add(svg, 'line',
      { class: 'axis', x1: MARGIN.left, x2: width - MARGIN.right, y1: bottom, y2: bottom });
  }

  const visible = () => runs.map((run, index) => ({ ...run, index }))
    .filter(({ index }) => !hidden.has(index));
  const end = (columns) => columns.reduce((most, c) => Math.max(most, c.at_s + c.seconds), 0);

  function percentiles() {
    const lines = visible().filter((run) => run.curves[shown])
      .map((run) => ({ index: run.index, name: run.label, points: run.curves[shown] }));
    const points = lines.flatMap((line) => line.points);
    if (points.length === 0) return byId('percentiles').replaceChildren('Nothing to show.');
    const values = points.map(([, ms]) => Math.max(ms, 1e-6));
    const [min, max] = [Math.min(...values), Math.max(...values)];
    const far = Math.max(...points.map(([inverse]) => inverse));
    const stops = lines.reduce((most, l) => (l.points.length > most.length ? l.points : most), [])
      .map(([inverse]) => inverse);
    const read = (at) => [at === far ? 'max' : quantile(at), ...lines.map((line) => {
      const { name, points: own } = line;
      const [, ms] = own.find(([inverse]) => inverse >= at * 0.999) || own[own.length - 1];
      return `${name} ${time(ms)}`;
    })];
    return chart(byId('percentiles'), {
      title: { text: `Latency by percentile, ${NAMES[shown]}` }, height: 340, lines, stops, read,
      hint: HINT,
      x: nines(far), y: logarithmic ? log(min, max, time) : linear(max, time),
    });
  }

  function heat() {
    const holder = byId('heat');
    const drawn = visible().filter((run) => run.columns.some(({ cells }) => cells.length > 0));
    const figures = drawn.map((run, n) => holder.children[n] || add(holder, 'figure'));
    while (holder.children.length > drawn.length) holder.lastChild.remove();
    if (drawn.length === 0) return;
    const columns = drawn.flatMap((run) => run.columns);
    const cells = columns.flatMap((column) => column.cells);
    const ms = (cell) => 10 ** (cell / CELLS_PER_DECADE);
    const ends = cells.map(([cell]) => cell);
    const y = log(ms(Math.min(...ends)), ms(Math.max(...ends) + 1), time);
    const x = seconds(end(columns));
    const most = Math.max(...columns.flatMap((c) => c.cells.map(([, n]) => n / c.seconds)));
    drawn.forEach((run, n) => {
      const middle = (column) => column.at_s + column.seconds / 2;
      const line = (key) => run.columns.map((column) => [middle(column), column[key]]);
      const look = (dashes) => ({ class: 'over', 'stroke-dasharray': dashes });
      chart(figures[n], {
        title: { text: run.label, visible: true }, x, y, height: 190,
        lines: [
          { name: 'median', points: line('p50'), style: look('none') },
          { name: '99th percentile', points: line('p99'), style: look('4 3') },
        ],
        stops: run.columns.map(middle),
        read: (at) => {
          const column = run.columns.find((c) => middle(c) === at);
          return [`${digits(column.at_s)} s`, `median ${time(column.p50)}`,
            `99 % ${time(column.p99)}`, `max ${time(column.max)}`];
        },
        under: (svg, px, py) => run.columns.forEach((column) => {
          const [left, right] = [px(column.at_s), px(column.at_s + column.seconds)];
          for (const [cell, number] of column.cells) {
            const top = py(ms(cell + 1));
            const strength = Math.log1p(number / column.seconds) / Math.log1p(most);
            add(svg, 'rect', {
              class: 'cell', x: left.toFixed(1), y: top.toFixed(1),
              width: Math.max(0.5, right - left - (right - left > 4 ? 0.6 : 0)).toFixed(1),
              height: (py(ms(cell)) - top).toFixed(1),
              'fill-opacity': (0.12 + 0.78 * strength).toFixed(2),
            });
          }
        }),
      });
    });
  }

  function over(id, text, key, write) {
    const drawn = visible().filter((run) => run.columns.some((column) => column[key] != null));
    if (drawn.length === 0) return byId(id).replaceChildren('Not known for these runs.');
    const columns = drawn.flatMap((run) => run.columns);
    const lines = drawn.map((run) => ({
      index: run.index, name: run.label, points: run.columns.map((c) => [c.at_s, c[key]]),
    }));
    const stops = [...new Set(columns.map((column) => column.at_s))].sort((a, b) => a - b);
    const read = (at) => [`${digits(at)} s`, ...lines.map(({ name, points }) => {
      const point = points.findLast(([moment]) => moment <= at);
      return `${name} ${point && point[1] != null ? write(point[1]) : 'none'}`;
    })];
    const max = Math.max(...columns.map((column) => column[key] ?? 0));
    return chart(byId(id), {
      title: { text }, x: seconds(end(columns)), y: linear(max * 1.02, write), height: 200, lines,
      stops, read,
    });
  }

  function draw() {
    percentiles();
    heat();
    over('deliveries', byId('deliveries-title').textContent, 'per_s', count);
    over('cpu', 'Server CPU, share of one core', 'server_cpu', percent);
  }

  function legend() {
    runs.forEach((run, index) => {
      const item = add(byId('legend'), 'li');
      const button = add(item, 'button', { type: 'button', 'aria-pressed': true });
      const sample = add(button, 'svg', { width: 28, height: 10, 'aria-hidden': true });
      add(sample, 'path', { d: 'M0 5H28', ...stroke(index) });
      add(button, 'span', {}, run.label);
      button.addEventListener('click', () => {
        if (!hidden.delete(index)) hidden.add(index);
        button.setAttribute('aria-pressed', !hidden.has(index));
        draw();
      });
    });
    const choice = (text, options, change) => {
      const select = add(add(byId('controls'), 'label', {}, text), 'select');
      for (const [value, name] of options) add(select, 'option', { value }, name);
      select.addEventListener('change', () => { change(select.value); draw(); });
    };
    if (named.length > 1) {
      choice('Of', named.map((name) => [name, NAMES[name]]), (name) => { shown = name; });
    }
    choice('Scale', [['log', 'logarithmic'], ['linear', 'linear']],
      (scale) => { logarithmic = scale === 'log'; });
  }

  legend();
  // A scroll bar that comes narrows the page without a resize of the window.
  let width = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (Math.abs(contentRect.width - width) < 1) return;
    width = contentRect.width;
    requestAnimationFrame(draw);
  }).observe(document.querySelector('main'));
})();
