// The table of an instant query: vectors, range vectors, scalars, strings, native histograms.
import { fill, h, table } from './dom.js';
import { formatLabels, formatTime, parseValue, quote, shortNumber } from './format.js';

const maxRows = 2000;

// Name and labels apart: the eye looks for the value of a label.
function labelsCell(labels) {
  const pairs = Object.keys(labels).filter((l) => l !== '__name__').sort();
  return h('span', { class: 'series', title: formatLabels(labels) },
    labels.__name__ && h('span', { class: 'metric' }, labels.__name__),
    pairs.map((l) => h('span', { class: 'pair' }, h('span', { class: 'label' }, l), '=', h('span', { class: 'string' }, quote(labels[l])))),
    !labels.__name__ && pairs.length === 0 && '{}');
}

// Which ends of a bucket belong to it, as the API tells: 0 "(]", 1 "[)", 2 "()", 3 "[]".
const bounds = [['(', ']'], ['[', ')'], ['(', ')'], ['[', ']']];

// A native histogram: count and sum, and its buckets with bars.
export function histogramCell({ count, sum, buckets = [] }) {
  const most = Math.max(...buckets.map(([, , , n]) => parseValue(n)), 0);
  return h('details', { class: 'histogram' },
    h('summary', null, 'count ', h('b', null, count), ', sum ', h('b', null, sum), `, ${buckets.length} buckets`),
    h('table', null,
      h('thead', null, h('tr', null, ['range', 'count', ''].map((c) => h('th', { scope: 'col', class: c === 'count' ? 'number' : null }, c)))),
      h('tbody', null, buckets.map(([kind, low, high, n]) => {
        const bar = h('span', { class: 'bar', 'aria-hidden': 'true' });
        bar.style.width = `${most > 0 ? (100 * parseValue(n)) / most : 0}%`;
        const [open, close] = bounds[kind] ?? bounds[0];
        return h('tr', null, h('td', null, `${open}${shortNumber(parseValue(low))}, ${shortNumber(parseValue(high))}${close}`),
          h('td', { class: 'number' }, n), h('td', { class: 'bars' }, bar));
      }))));
}

function valueCell(series) {
  if (series.histogram) return histogramCell(series.histogram[1]);
  if (series.value) return series.value[1];
  const points = [...(series.values ?? []).map(([t, v]) => [t, v]), ...(series.histograms ?? []).map(([t, v]) => [t, histogramCell(v)])]
    .sort(([a], [b]) => a - b);
  return h('ul', { class: 'points' }, points.map(([t, v]) => h('li', null, v, h('span', { class: 'muted' }, ` @ ${formatTime(t)}`))));
}

export function drawTable(parent, { resultType, result }, all = false) {
  if (resultType === 'scalar' || resultType === 'string') {
    fill(parent, table('Result', [resultType, { class: 'number', content: 'Value' }],
      [[formatTime(result[0]), { class: 'number value', content: result[1] }]]));
    return;
  }
  if (result.length === 0) {
    fill(parent, h('p', { class: 'note' }, 'Empty query result.'));
    return;
  }
  const shown = all ? result : result.slice(0, maxRows);
  fill(parent, table('Result', ['Series', { class: 'number', content: 'Value' }],
    shown.map((series) => [labelsCell(series.metric), { class: 'number value', content: valueCell(series) }])),
  shown.length < result.length && h('button', { type: 'button', onclick: () => drawTable(parent, { resultType, result }, true) },
    `Show all ${result.length} series`));
}
