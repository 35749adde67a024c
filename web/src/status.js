// What the server does and holds, asked again every few seconds.
import { get } from './api.js';
import { fill, h, table } from './dom.js';
import { formatBytes, formatCount, formatDuration, formatTime, shortNumber } from './format.js';

const pollMs = 5000;

const tile = (name, value, note, bad) => h('div', { class: `tile${bad ? ' bad' : ''}` },
  h('dt', null, name), h('dd', null, value, note && h('small', null, note)));

const age = (now, time) => (time ? `${formatDuration(Math.max(0, Math.round(now - Date.parse(time) / 1000)))} ago` : 'none yet');

function tiles({ now, ingest, merge, tables, ...data }, before) {
  const seconds = before ? now - before.now : now - data.started;
  const rate = (ingest.samples - (before?.ingest.samples ?? 0)) / Math.max(seconds, 0.001);
  const refused = ['bodies_refused', 'series_refused', 'samples_out_of_bounds', 'histograms_refused', 'metadata_refused']
    .reduce((sum, key) => sum + (ingest[key] ?? 0), 0);
  const bytes = tables.reduce((sum, t) => sum + t.bytes, 0);
  return h('dl', { class: 'tiles' },
    tile('Ingest rate', `${shortNumber(rate)}/s`, before ? 'samples, just now' : 'samples, since the start'),
    tile('Samples stored', formatCount(ingest.samples), `last ${age(now, ingest.last_ingest)}`),
    tile('Series', formatCount(data.series), `of ${formatCount(data.metrics)} metrics, ${formatCount(ingest.series_created)} made since the start`),
    tile('Refused', formatCount(refused), 'bodies, series, samples, metadata', refused > 0),
    tile('Backlog', `${formatCount(merge.fresh_rows)} rows`, `${formatBytes(merge.fresh_bytes)}, oldest ${merge.oldest_age === null ? '–' : formatDuration(Math.round(merge.oldest_age))}`),
    tile('Merged', `${formatCount(merge.samples_written)} samples`, `last ${age(now, merge.last_merge)}`),
    tile('Merge errors', formatCount(merge.errors), merge.last_error, merge.errors > 0),
    tile('Quarantine', `${formatCount(merge.quarantine_rows)} rows`, 'damaged, set aside', merge.quarantine_rows > 0),
    tile('Size', formatBytes(bytes), `${tables.length} tables, indexes included`),
    tile('Up', formatDuration(Math.round(now - data.started)), data.standby ? 'hot standby: reads only' : 'primary'));
}

function tableRows(tables) {
  return table('Tables', ['Table', { class: 'number', content: 'Parts' }, { class: 'number', content: 'Rows, estimated' },
    { class: 'number', content: 'Size' }, { class: 'number', content: 'of it indexes' }],
  tables.map((t) => [t.name, { class: 'number', content: formatCount(t.parts) }, { class: 'number', content: formatCount(t.rows) },
    { class: 'number', content: formatBytes(t.bytes) }, { class: 'number', content: formatBytes(t.index_bytes) }]));
}

function workerRows(workers) {
  return table('Workers and their connections', ['Process', 'Name', 'State', 'Since (UTC)'],
    workers.map((w) => [String(w.pid), w.name, w.state ?? '–', w.since ? formatTime(Math.round(w.since)) : '–']));
}

function settingRows(settings) {
  return table('Settings', ['Setting', 'Value', 'Meaning'], settings.map((s) => [h('code', null, s.name),
    s.default ? s.value || '""' : h('strong', { title: 'not the default' }, s.value || '""'), s.about]));
}

export function showStatus(main) {
  const live = h('div', null);
  const tables = h('div', null);
  const workers = h('div', null);
  const settings = h('div', null);
  const about = h('p', { class: 'told muted' });
  const generations = h('div', null);
  const message = h('div', { class: 'messages' });
  let before = null;
  let timer = null;
  let left = false;

  async function countRows(event) {
    event.target.disabled = true;
    try {
      const { data } = await get('status/promgres', { rows: 'true' });
      fill(generations, table('Rows by stage, day and generation', ['Stage', 'Day', { class: 'number', content: 'Generation' },
        { class: 'number', content: 'Rows' }, { class: 'number', content: 'Samples' }, { class: 'number', content: 'Bytes' },
        { class: 'number', content: 'Bytes per sample' }],
      (data.rows ?? []).map((r) => [r.stage, r.day ?? '–', ...[r.gen ?? '–', formatCount(r.rows), formatCount(r.samples), formatBytes(r.bytes),
        r.samples > 0 ? (r.bytes / r.samples).toFixed(2) : '–'].map((content) => ({ class: 'number', content: String(content) }))])));
    } catch (error) {
      fill(generations, h('p', { class: 'message error', role: 'alert' }, error.message));
    }
    event.target.disabled = false;
  }

  fill(main, h('h1', { class: 'hidden' }, 'Status'), message, live, about,
    h('h2', null, 'Tables'), tables,
    h('p', null, h('button', { type: 'button', onclick: countRows }, 'Count rows and samples'), h('span', { class: 'muted' }, ' reads all rows')), generations,
    h('h2', null, 'Workers'), workers, h('h2', null, 'Settings'), settings);

  async function poll() {
    try {
      const { data } = await get('status/promgres');
      if (left) return;
      fill(message);
      fill(live, tiles(data, before));
      about.textContent = `promgres ${data.version} in PostgreSQL ${data.server}, database ${data.database}, asked as ${data.user}`;
      fill(tables, tableRows(data.tables));
      fill(workers, workerRows(data.workers));
      if (!before) fill(settings, settingRows(data.settings));
      before = data;
      main.dataset.state = 'done';
    } catch (error) {
      if (left) return;
      fill(message, h('p', { class: 'message error', role: 'alert' }, error.message));
      main.dataset.state = 'failed';
    }
    timer = setTimeout(poll, document.hidden ? 12 * pollMs : pollMs);
  }

  main.dataset.state = 'running';
  poll();
  return () => {
    left = true;
    clearTimeout(timer);
  };
}
