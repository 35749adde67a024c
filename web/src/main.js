// The frame: views by address, light and dark.
import 'uplot/dist/uPlot.min.css';
import './style.css';
import { get, pageBase } from './api.js';
import { showExplorer } from './explore.js';
import { formatDuration, formatTime } from './format.js';
import { showQueries } from './query.js';
import { readLocation, writeLocation } from './state.js';
import { showStatus } from './status.js';

const main = document.getElementById('main');
const views = { graph: showQueries, explore: showExplorer, status: showStatus };
const titles = { graph: 'Query', explore: 'Explore', status: 'Status' };
let leave = () => {};

function write(state, replace = false) {
  const address = writeLocation(state, { formatDuration, formatTime });
  if (address === location.pathname + location.search) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', address);
}

function show() {
  const state = readLocation();
  leave();
  document.title = `${titles[state.view]} · promgres`;
  for (const link of document.querySelectorAll('nav a')) {
    if (link.dataset.view === state.view) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  leave = views[state.view](main, state, { changed: () => write(state), go }) ?? (() => {});
}

// To another address of the page, without loading it again.
function go(address) {
  history.pushState(null, '', new URL(address, new URL(pageBase, location.href)));
  show();
  main.focus();
}

document.addEventListener('click', (event) => {
  const link = event.target.closest?.('nav a, a[data-go]');
  if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(link.getAttribute('href'));
});
window.addEventListener('popstate', show);

// Automatic, light, dark; what was chosen is kept by the browser.
const themes = { auto: 'Theme: auto', light: 'Theme: light', dark: 'Theme: dark' };
const button = document.getElementById('theme');
const system = matchMedia('(prefers-color-scheme: dark)');

function applyTheme() {
  const chosen = localStorage.getItem('promgres.theme');
  const theme = chosen in themes ? chosen : 'auto';
  document.documentElement.dataset.theme = theme === 'auto' ? (system.matches ? 'dark' : 'light') : theme;
  button.textContent = themes[theme];
  window.dispatchEvent(new Event('themechange'));
}

button.addEventListener('click', () => {
  const names = Object.keys(themes);
  const at = names.indexOf(localStorage.getItem('promgres.theme') ?? 'auto');
  localStorage.setItem('promgres.theme', names[(at + 1) % names.length]);
  applyTheme();
});
system.addEventListener('change', applyTheme);

applyTheme();
show();
get('status/buildinfo').then(({ data }) => {
  document.getElementById('version').textContent = `API of Prometheus ${data.version}`;
}).catch(() => {});
