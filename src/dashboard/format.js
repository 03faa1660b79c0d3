// Numbers, sizes and times as people read them.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

/** Three digits that count, with k, M or G: 1234 is "1,234", 56789 is "56.8k". */
export function count(number) {
  if (number === undefined || number === null || Number.isNaN(number)) return '–';
  // The first bound of each row is where the digits of the row before would show 1,000.
  for (const [from, size, unit] of [[999_500_000, 1e9, 'G'], [999_500, 1e6, 'M'], [1e4, 1e3, 'k']]) {
    if (number >= from) return `${digits(number / size)}${unit}`;
  }
  return whole.format(number);
}

/** A rate: slow ones keep a digit behind the point. */
export function rate(number) {
  if (number > 0 && number < 10) return number < 0.1 ? '<0.1' : number.toFixed(1);
  return count(number);
}

function digits(number) {
  if (number >= 99.95) return whole.format(number);
  return number >= 9.995 ? number.toFixed(1) : number.toFixed(2);
}

/** Bytes in units of 1024. */
export function bytes(number) {
  if (number === undefined || number === null) return '–';
  for (const [shift, unit] of [[40, 'TiB'], [30, 'GiB'], [20, 'MiB'], [10, 'KiB']]) {
    if (number >= 2 ** shift) return `${digits(number / 2 ** shift)} ${unit}`;
  }
  return `${whole.format(number)} B`;
}

/** A time in microseconds. */
export function micros(us) {
  if (us === undefined || us === null) return '–';
  if (us < 1000) return `${whole.format(us)} µs`;
  if (us < 1e6) return `${digits(us / 1e3)} ms`;
  return `${digits(us / 1e6)} s`;
}

/** The same without zeros behind the point, for the marks of an axis. */
export const mark = (us) => micros(us).replace(/\.0+ /, ' ');

/** A time in seconds, in its two largest units. */
export function duration(seconds) {
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor(s / 3600) % 24} h`;
}

/** A share from 0 to 1. */
export function percent(share) {
  if (share > 0 && share < 0.01) return '<1 %';
  return `${Math.round(share * 100)} %`;
}

/** A value of a limit in the limit's unit. */
export function amount(value, unit) {
  if (value === null || value === undefined) return 'no limit';
  if (unit === 'bytes') return bytes(value);
  if (unit === 'cores') return `${value.toFixed(value < 10 ? 2 : 1).replace(/\.?0+$/, '')} cores`;
  return count(value);
}
