// What the address says: the view, and for queries the panels, in Prometheus' form (g0.expr=…), so that
// its links, Grafana's and those of alerts open here.
import { pageBase } from './api.js';
import { parseDuration, parseTime } from './format.js';

const tabNames = { 0: 'graph', 1: 'table', graph: 'graph', table: 'table', sql: 'sql' };

export const newPanel = () => ({ expr: '', tab: 'table', range: 3600, end: null, step: null, stacked: false, at: null });

export function readLocation(location = window.location) {
  const path = location.pathname.slice(pageBase.length);
  const parameters = new URLSearchParams(location.search);
  if (path === 'explore') return { view: 'explore', selector: parameters.get('selector') ?? '' };
  if (path === 'status') return { view: 'status' };
  const panels = [];
  for (let i = 0; parameters.has(`g${i}.expr`); i++) {
    const read = (name) => parameters.get(`g${i}.${name}`);
    panels.push({
      expr: read('expr'),
      tab: tabNames[read('tab')] ?? 'table',
      range: parseDuration(read('range_input') ?? '') || 3600,
      end: parseTime(read('end_input') ?? ''),
      step: parseDuration(read('step_input') ?? '') || null,
      stacked: read('stacked') === '1' || read('display_mode') === 'stacked',
      at: parseTime(read('moment_input') ?? read('end_input') ?? ''),
    });
  }
  return { view: 'graph', panels: panels.length ? panels : [newPanel()] };
}

export function writeLocation(state, { formatDuration, formatTime }) {
  const parameters = new URLSearchParams();
  if (state.view === 'explore' && state.selector) parameters.set('selector', state.selector);
  if (state.view === 'graph') {
    state.panels.forEach((panel, i) => {
      const write = (name, value) => parameters.set(`g${i}.${name}`, value);
      write('expr', panel.expr);
      write('tab', { graph: '0', table: '1', sql: 'sql' }[panel.tab]);
      write('range_input', formatDuration(panel.range));
      if (panel.end !== null) write('end_input', formatTime(panel.end));
      if (panel.at !== null) write('moment_input', formatTime(panel.at));
      if (panel.step !== null) write('step_input', formatDuration(panel.step));
      write('display_mode', panel.stacked ? 'stacked' : 'lines');
    });
  }
  const query = String(parameters);
  return pageBase + state.view + (query ? `?${query}` : '');
}
