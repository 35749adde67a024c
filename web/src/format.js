// Durations, times, values and label sets as text.

const units = { ms: 1e-3, s: 1, m: 60, h: 3600, d: 86400, w: 604800, y: 31536000 };

// "1h30m" or "90" in seconds; null if it is neither.
export function parseDuration(text) {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed);
  if (!/^(\d+(ms|[smhdwy]))+$/.test(trimmed)) return null;
  return [...trimmed.matchAll(/(\d+)(ms|[smhdwy])/g)].reduce((sum, [, n, unit]) => sum + n * units[unit], 0);
}

export function formatDuration(seconds) {
  let rest = Math.round(seconds * 1000);
  if (rest === 0) return '0s';
  let text = '';
  for (const [unit, ms] of [['d', 86400000], ['h', 3600000], ['m', 60000], ['s', 1000], ['ms', 1]]) {
    const n = Math.floor(rest / ms);
    if (n > 0) text += n + unit;
    rest -= n * ms;
  }
  return text;
}

const pad = (n, width = 2) => String(n).padStart(width, '0');

// Times are UTC everywhere, as in Prometheus' URLs.
export function formatTime(seconds) {
  const d = new Date(seconds * 1000);
  const ms = d.getUTCMilliseconds();
  return `${d.getUTCFullYear()}-${pad(d.getUTCMonth() + 1)}-${pad(d.getUTCDate())} `
    + `${pad(d.getUTCHours())}:${pad(d.getUTCMinutes())}:${pad(d.getUTCSeconds())}${ms ? `.${pad(ms, 3)}` : ''}`;
}

// "2026-01-01 00:00:00", RFC 3339 or seconds since 1970; null if it is none of them.
export function parseTime(text) {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed);
  const found = trimmed.match(/^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/);
  if (!found) return null;
  const ms = Date.parse(`${found[1]}T${found[2] ?? '00:00'}${found[3] ?? ':00'}${found[4] ?? 'Z'}`);
  return Number.isNaN(ms) ? null : ms / 1000;
}

const identifier = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const metricName = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
export const quote = (s) => `"${s.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')}"`;

export const matcher = (name, value, operator = '=') =>
  `${identifier.test(name) ? name : quote(name)}${operator}${quote(value)}`;

// {__name__="up", job="x"} as up{job="x"}: text that is also a selector.
export function formatLabels(labels) {
  const name = labels.__name__;
  const plain = name !== undefined && metricName.test(name);
  const rest = Object.keys(labels).filter((l) => l !== '__name__').sort().map((l) => matcher(l, labels[l]));
  if (name !== undefined && !plain) rest.unshift(quote(name));
  return (plain ? name : '') + (rest.length || !plain ? `{${rest.join(', ')}}` : '');
}

// For axes and legends, where all digits would not help.
export function shortNumber(v) {
  if (v === null || v === undefined) return '–';
  if (!Number.isFinite(v)) return Number.isNaN(v) ? 'NaN' : v > 0 ? '+Inf' : '-Inf';
  const size = Math.abs(v);
  if (size === 0) return '0';
  for (const [suffix, unit] of [['T', 1e12], ['G', 1e9], ['M', 1e6], ['k', 1e3]]) {
    if (size >= unit && size < 1e15) return `${Number((v / unit).toPrecision(4))}${suffix}`;
  }
  return size < 1e-4 || size >= 1e15 ? v.toExponential(2) : String(Number(v.toPrecision(4)));
}

export const parseValue = (text) => ({ '+Inf': Infinity, '-Inf': -Infinity, NaN: NaN })[text] ?? Number(text);

export const formatCount = (n) => (n === null || n === undefined ? '–' : Number(n).toLocaleString('en-US'));

// "1 metric", "2,000 metrics"
export const formatNumber = (n, one, many = `${one}s`) => `${formatCount(n)} ${n === 1 ? one : many}`;

export function formatBytes(n) {
  if (n === null || n === undefined) return '–';
  let value = Number(n);
  let unit = 0;
  while (value >= 1024 && unit < 5) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${['B', 'kB', 'MB', 'GB', 'TB', 'PB'][unit]}`;
}
