// Which metrics, labels and series there are, and where the many are.
//
// Without a selector: the metrics, and the server's own figures of cardinality.  With one: how its
// series fall apart by label, so that one can go down to those that matter.
import { call, get, getIfThere } from './api.js';
import { append, fill, h, table } from './dom.js';
import { makeEditor } from './editor.js';
import { formatCount, formatLabels, formatNumber, matcher } from './format.js';

const maxMetrics = 500;
const maxSeries = 20000;
const shownSeries = 200;
const shownValues = 50;
const maxFigures = 20;

const metricSelector = (name) => formatLabels({ __name__: name });
const exploreLink = (selector, text, attributes) =>
  h('a', { href: `explore?${new URLSearchParams({ selector })}`, 'data-go': true, ...attributes }, text);
const queryLink = (expr, text, tab = 'table') =>
  h('a', { href: `graph?${new URLSearchParams({ 'g0.expr': expr, 'g0.tab': tab === 'graph' ? '0' : '1' })}`, 'data-go': true }, text);

// How to look at a metric depends on what it is.
function usualQuery(selector, type) {
  return type === 'counter' || (!type && /_(total|count|sum|bucket)(\{|$)/.test(selector)) ? `rate(${selector}[5m])` : selector;
}

// The selector with one more matcher.
function narrowed(selector, name, value) {
  const inner = matcher(name, value);
  return selector.endsWith('}') ? selector.replace(/\s*,?\s*\}$/, (end, at) => `${selector[at - 1] === '{' ? '' : ', '}${inner}}`)
    : `${selector}{${inner}}`;
}

function barCell(n, most) {
  const bar = h('span', { class: 'bar', 'aria-hidden': 'true' });
  bar.style.width = `${(100 * n) / Math.max(most, 1)}%`;
  return { class: 'bars', content: bar };
}

function countTable(caption, head, rows, link) {
  const most = Math.max(...rows.map(({ value }) => value), 1);
  return table(caption, [head, { class: 'number', content: 'Count' }, ''],
    rows.map(({ name, value }) => [link ? link(name) : name, { class: 'number', content: formatCount(value) }, barCell(value, most)]));
}

async function showOverview(parent, metadata) {
  const [{ data: labels }, answer] = await Promise.all([get('labels'), getIfThere('status/tsdb', { limit: maxFigures })]);
  const figures = answer?.data;
  const counts = new Map((figures?.labelValueCountByLabelName ?? []).map(({ name, value }) => [name, value]));
  const values = h('div', { class: 'values', 'aria-live': 'polite' });

  async function showValues(name) {
    const { data } = await get(`label/${encodeURIComponent(name)}/values`);
    const ofPair = new Map((figures?.seriesCountByLabelValuePair ?? []).map((pair) => [pair.name, pair.value]));
    fill(values, h('h3', null, `${formatNumber(data.length, 'value')} of ${name}`),
      h('ul', { class: 'chips' }, data.slice(0, 500).map((value) => h('li', null, exploreLink(`{${matcher(name, value)}}`, value || '""'),
        ofPair.has(`${name}=${value}`) && h('span', { class: 'muted' }, ` ${formatCount(ofPair.get(`${name}=${value}`))}`)))),
      data.length > 500 && h('p', { class: 'note' }, 'The first 500 are shown.'));
  }

  fill(parent,
    figures && h('p', { class: 'told muted' }, `${formatCount(figures.headStats.numSeries)} series, ${formatCount(figures.headStats.numLabelPairs)} pairs of label and value`),
    h('h2', null, formatNumber(labels.length, 'label')),
    h('ul', { class: 'chips labels' }, labels.map((name) => h('li', null,
      h('button', { type: 'button', onclick: () => showValues(name) }, name, counts.has(name) && h('span', { class: 'muted' }, ` ${formatCount(counts.get(name))}`))))),
    values);
  if (!figures) {
    append(parent, [h('p', { class: 'note' }, 'The server tells no figures of cardinality. Choose a metric to count its series.')]);
    return;
  }
  append(parent, [h('div', { class: 'columns' },
    h('div', null, h('h2', null, 'Metrics with most series'),
      countTable('Series by metric', 'Metric', figures.seriesCountByMetricName, (name) => exploreLink(metricSelector(name), name, { title: metadata[name]?.[0]?.help }))),
    h('div', null, h('h2', null, 'Labels with most values'),
      countTable('Values by label', 'Label', figures.labelValueCountByLabelName, (name) => exploreLink(`{${matcher(name, '', '!=')}}`, name))),
    h('div', null, h('h2', null, 'Most frequent pairs'),
      countTable('Series by label and value', 'Pair', figures.seriesCountByLabelValuePair, (pair) => {
        const at = pair.indexOf('=');
        return exploreLink(`{${matcher(pair.slice(0, at), pair.slice(at + 1))}}`, pair);
      })))]);
}

async function showSelector(parent, selector, metadata) {
  const { data: series } = await call('series', { 'match[]': selector, limit: maxSeries });
  const counts = new Map();
  for (const labels of series) {
    for (const [name, value] of Object.entries(labels)) {
      if (!counts.has(name)) counts.set(name, new Map());
      const values = counts.get(name);
      values.set(value, (values.get(value) ?? 0) + 1);
    }
  }
  const names = [...counts.keys()].sort((a, b) => counts.get(b).size - counts.get(a).size || (a < b ? -1 : 1));
  const metrics = [...(counts.get('__name__')?.keys() ?? [])];
  const told = metrics.length === 1 ? metadata[metrics[0]]?.[0] : null;

  // Open: the few labels that tell the series apart.
  function valueRows(name, at) {
    const values = [...counts.get(name)].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
    const most = values[0][1];
    return h('details', { open: at < 2 && counts.get(name).size > 1, 'data-label': name },
      h('summary', null, h('b', null, name), h('span', { class: 'muted' }, ` ${formatNumber(values.length, 'value')}`)),
      table(`Values of ${name}`, ['Value', { class: 'number', content: 'Series' }, ''],
        values.slice(0, shownValues).map(([value, n]) => [exploreLink(narrowed(selector, name, value), value || '""'),
          { class: 'number', content: formatCount(n) }, barCell(n, most)])),
      values.length > shownValues && h('p', { class: 'note' }, formatNumber(values.length - shownValues, 'more value')));
  }

  fill(parent,
    h('p', { class: 'told' }, h('strong', null, `${formatCount(series.length)}${series.length >= maxSeries ? ' or more' : ''} series`),
      metrics.length > 1 && ` of ${formatCount(metrics.length)} metrics`,
      ' · ', queryLink(selector, 'Query'), ' · ', queryLink(usualQuery(selector, told?.type), 'Graph', 'graph')),
    told && h('p', null, h('span', { class: 'tag' }, told.type), ' ', told.help, told.unit && ` (${told.unit})`),
    series.length === 0 && h('p', { class: 'note' }, 'No series match.'),
    names.map(valueRows),
    series.length > 0 && h('h2', null, 'Series'),
    h('ul', { class: 'serieslist' }, series.slice(0, shownSeries).map((labels) => {
      const text = formatLabels(labels);
      return h('li', null, queryLink(text, text));
    })),
    series.length > shownSeries && h('p', { class: 'note' }, `The first ${shownSeries} are shown.`));
}

export function showExplorer(main, state, { go }) {
  const message = h('div', { id: 'explore-message', class: 'messages' });
  const host = h('div', { class: 'editor' });
  const detail = h('div', { class: 'detail' });
  const list = h('ul', { class: 'metrics', 'aria-label': 'Metrics' });
  const count = h('p', { class: 'muted', 'aria-live': 'polite' });
  const filter = h('input', { type: 'search', placeholder: 'Filter names and help', 'aria-label': 'Filter metrics' });
  let names = [];
  let metadata = {};
  const explore = () => go(`explore?${new URLSearchParams({ selector: editor.text().trim() })}`);

  fill(main, h('h1', { class: 'hidden' }, 'Explore'),
    h('div', { class: 'expression' }, host,
      h('button', { type: 'button', class: 'primary', onclick: explore }, 'Explore'),
      state.selector && h('a', { class: 'button', href: 'explore', 'data-go': true }, 'All')),
    message,
    h('div', { class: 'split' }, h('aside', { 'aria-label': 'Metrics' }, filter, count, list), detail));
  const editor = makeEditor(host, {
    text: state.selector, label: 'Series selector', hint: 'Selector, like up{job="node"}', describedBy: message.id, onEnter: explore, onChange: () => editor.markError(null),
  });

  function drawMetrics() {
    const wanted = filter.value.toLowerCase();
    const found = names.filter((name) => name.toLowerCase().includes(wanted) || metadata[name]?.[0]?.help?.toLowerCase().includes(wanted));
    count.textContent = `${formatNumber(found.length, 'metric')}${found.length > maxMetrics ? `, the first ${maxMetrics} are shown` : ''}`;
    fill(list, found.slice(0, maxMetrics).map((name) => {
      const told = metadata[name]?.[0];
      return h('li', null, exploreLink(metricSelector(name), name, { 'aria-current': state.selector === metricSelector(name) ? 'true' : null }),
        told && [' ', h('span', { class: 'tag' }, told.type), h('div', { class: 'help' }, told.help)]);
    }));
  }
  filter.addEventListener('input', drawMetrics);

  async function load() {
    const [all, told] = await Promise.all([get('label/__name__/values'), getIfThere('metadata', { limit_per_metric: 1 })]);
    names = all.data;
    metadata = told?.data ?? {};
    // Series of a histogram or summary are told of under the name of the family.
    for (const name of names) metadata[name] ??= metadata[name.replace(/_(bucket|count|sum|total)$/, '')];
    drawMetrics();
    if (state.selector) await showSelector(detail, state.selector, metadata);
    else await showOverview(detail, metadata);
    main.dataset.state = 'done';
  }

  main.dataset.state = 'running';
  load().catch((error) => {
    editor.markError(error.message);
    fill(message, h('p', { class: 'message error', role: 'alert' }, error.message));
    main.dataset.state = 'failed';
  });
  return () => editor.destroy();
}
