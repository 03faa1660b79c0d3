// The heat map of latencies over time, and the small lines in the tiles.

import { count, mark } from './format.js';

const AXIS = 62; // Pixels for the labels of rows.
const FOOT = 18; // And for those of times.

/** Rows that are shown: those with anything in them and one beside, and four at least. */
export function rowsShown(list, rows) {
  let low = rows;
  let high = -1;
  for (const column of list) {
    column.rows?.forEach((value, row) => {
      if (!value) return;
      low = Math.min(low, row);
      high = Math.max(high, row);
    });
  }
  if (high < 0) return [2, 9];
  low = Math.max(low - 1, 0);
  high = Math.min(high + 1, rows - 1);
  while (high - low < 5) {
    if (high < rows - 1) high += 1;
    if (low > 0 && high - low < 5) low -= 1;
  }
  return [low, high];
}

export class HeatMap {
  columns = null;
  bounds = [];

  constructor(canvas, tip) {
    this.canvas = canvas;
    this.tip = tip;
    new ResizeObserver(() => this.draw()).observe(canvas);
    document.addEventListener('colours', () => this.draw());
    canvas.addEventListener('pointermove', (event) => this.point(event));
    canvas.addEventListener('pointerleave', () => { tip.hidden = true; });
  }

  show(columns, bounds) {
    this.columns = columns;
    this.bounds = bounds;
    this.draw();
  }

  label(row) {
    const below = this.bounds[row];
    return below === undefined ? `> ${mark(this.bounds.at(-1))}` : `≤ ${mark(below)}`;
  }

  draw() {
    const { canvas, columns } = this;
    const { width, height } = canvas.getBoundingClientRect();
    if (!columns || !width) return;
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext('2d');
    pen.scale(scale, scale);
    const style = getComputedStyle(canvas);
    const [low, high] = rowsShown(columns.list, this.bounds.length + 1);
    const [plot, tall] = [width - AXIS, height - FOOT];
    const step = tall / (high - low + 1);
    this.place = { low, high, step, plot };
    pen.font = `11px ${style.fontFamily}`;
    pen.textBaseline = 'middle';
    pen.fillStyle = style.color;
    pen.textAlign = 'right';
    for (let row = low; row <= high; row += 1) {
      if ((row - low) % (step < 15 ? 2 : 1)) continue;
      pen.fillText(this.label(row), AXIS - 8, tall - (row - low + 0.5) * step);
    }
    const step_ms = columns.span / 5 >= 60_000 ? 60_000 : columns.span / 4;
    for (let age = 0; age <= columns.span; age += step_ms) {
      const isLast = age === columns.span;
      pen.textAlign = age && !isLast ? 'center' : isLast ? 'left' : 'right';
      const text = step_ms < 60_000 ? `−${age / 1000} s` : `−${age / 60_000} min`;
      pen.fillText(age ? text : 'now', width - (age / columns.span) * plot, height - FOOT / 2 + 2);
    }
    this.cells(pen, style);
  }

  cells(pen, style) {
    const { low, high, step, plot } = this.place;
    const tall = (high - low + 1) * step;
    pen.fillStyle = style.borderTopColor;
    pen.globalAlpha = 0.35;
    pen.fillRect(AXIS, 0, plot, tall);
    pen.fillStyle = style.outlineColor;
    const scale = window.devicePixelRatio || 1;
    // On whole pixels no seam is left between two columns.
    const edge = (x) => Math.round(x * scale) / scale;
    let age = this.columns.ms;
    for (const column of this.columns.list) {
      const right = edge(AXIS + plot * (1 - Math.max(age - column.ms, 0) / this.columns.span));
      const left = edge(Math.max(AXIS + plot * (1 - age / this.columns.span), AXIS));
      age -= column.ms;
      const sum = column.rows?.reduce((a, b) => a + b, 0) ?? 0;
      if (!sum) continue;
      for (let row = low; row <= high; row += 1) {
        const value = column.rows[row];
        if (!value) continue;
        // A few late ones among many must be seen: the root lifts small shares.
        pen.globalAlpha = 0.16 + 0.84 * Math.sqrt(value / sum);
        pen.fillRect(left, tall - (row - low + 1) * step + 0.5, Math.max(right - left, 1), step - 1);
      }
    }
    pen.globalAlpha = 1;
    if (this.columns.list.some((column) => column.rows?.some(Boolean))) return;
    pen.fillStyle = style.color;
    pen.textAlign = 'center';
    pen.font = `13px ${style.fontFamily}`;
    pen.fillText('Nothing was published in this time.', AXIS + plot / 2, tall / 2);
  }

  /** Tells what is under the pointer. */
  point(event) {
    const { canvas, tip, place, columns } = this;
    if (!place) return;
    const { left, top, width } = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    const row = place.high - Math.floor(y / place.step);
    const wanted = (1 - (x - AXIS) / place.plot) * columns.span;
    let age = columns.ms;
    const column = columns.list.find((one) => {
      age -= one.ms;
      return wanted >= age && wanted <= age + one.ms;
    });
    tip.hidden = !column || row < place.low || x < AXIS;
    if (tip.hidden) return;
    tip.textContent = `${Math.round(wanted / 1000)} s ago, ${this.label(row)}: ${count(column.rows[row])} publications`;
    tip.style.left = `${Math.min(x + 12, width - 230)}px`;
    tip.style.top = `${y + 12}px`;
  }
}

/** A small line with its area: values of the shown minutes, newest at the right. */
export function spark(svg, series, span) {
  const most = Math.max(...series.map(([, value]) => value), 1e-9);
  const points = series.map(([age, value]) =>
    `${(100 - (age / span) * 100).toFixed(2)},${(23 - (value / most) * 21).toFixed(2)}`);
  svg.setAttribute('viewBox', '0 0 100 24');
  svg.setAttribute('preserveAspectRatio', 'none');
  if (!svg.firstChild) {
    for (const kind of ['area', 'line']) {
      const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
      path.setAttribute('class', kind);
      svg.append(path);
    }
  }
  const line = points.length > 1 ? `M${points.join('L')}` : '';
  const first = points[0]?.split(',')[0];
  const last = points.at(-1)?.split(',')[0];
  svg.firstChild.setAttribute('d', line && `${line}L${last},24L${first},24Z`);
  svg.lastChild.setAttribute('d', line);
}
