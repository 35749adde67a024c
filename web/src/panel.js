// One query: its expression, and what of it the tabs show.
import { call } from './api.js';
import { drawChart } from './chart.js';
import { fill, field, h, tabs } from './dom.js';
import { makeEditor } from './editor.js';
import { formatDuration, formatTime, parseDuration, parseTime } from './format.js';
import { drawPlan } from './plan.js';
import { drawTable } from './values.js';

const ranges = ['5m', '15m', '30m', '1h', '2h', '6h', '12h', '1d', '2d', '1w', '2w', '4w', '8w', '1y'];

// Points of a graph where the step is not given.
const autoPoints = 250;

// Whole milliseconds: what the server computes with.
const autoStep = (range) => Math.max(range >= autoPoints ? Math.floor(range / autoPoints) : Math.ceil((range / autoPoints) * 1000) / 1000, 0.001);

// changed() writes the address; remove() is null if this is the only panel.
export function makePanel(parent, state, number, { changed, remove }) {
  const id = `panel-${number}`;
  let running = null;
  let dispose = () => {};
  let explain = { of: 'range', plan: false };

  const message = h('div', { id: `${id}-message`, class: 'messages', 'aria-live': 'polite' });
  const told = h('p', { class: 'told muted', 'aria-live': 'polite' });
  const controls = h('div', { class: 'controls' });
  const content = h('div', { class: 'content' });
  const host = h('div', { class: 'editor' });
  const run = h('button', { type: 'button', class: 'primary', onclick: () => execute() }, 'Execute');
  const tab = tabs('Result', { table: 'Table', graph: 'Graph', sql: 'SQL and plan' }, (name) => {
    if (name !== state.tab) set({ tab: name });
  });
  tab.panel.append(controls, told, content);
  const section = h('section', { class: 'panel', 'aria-label': `Query ${number + 1}` },
    h('div', { class: 'expression' }, host, run,
      remove && h('button', { type: 'button', class: 'quiet', 'aria-label': `Remove query ${number + 1}`, onclick: remove }, '✕')),
    message, tab.list, tab.panel);
  parent.append(section);
  const editor = makeEditor(host, {
    text: state.expr,
    label: `PromQL expression of query ${number + 1}`,
    hint: 'Expression (Enter runs it, Shift-Enter begins a line)',
    describedBy: message.id,
    onEnter: () => execute(),
    onChange: () => editor.markError(null),
  });

  // Change the state, the address with it, and show what follows.
  function set(change) {
    Object.assign(state, { expr: editor.text().trim() }, change);
    changed();
    show();
  }
  const execute = () => set({});

  function textInput(label, value, parse, apply, attributes) {
    const input = h('input', { type: 'text', value, autocomplete: 'off', spellcheck: 'false', ...attributes });
    input.addEventListener('change', () => {
      const text = input.value.trim();
      const parsed = text === '' ? null : parse(text);
      input.setAttribute('aria-invalid', String(text !== '' && parsed === null));
      if (text === '' || parsed !== null) apply(parsed);
    });
    return field(label, input);
  }

  const timeInput = (label, key) => textInput(label, state[key] === null ? '' : formatTime(state[key]), parseTime,
    (value) => set({ [key]: value }), { placeholder: 'now', size: 19 });

  const shift = (key, seconds) => () => set({ [key]: Math.min((state[key] ?? Date.now() / 1000) + seconds, 253402300799) });

  function rangeControls() {
    const nearest = (direction) => () => {
      const all = ranges.map(parseDuration);
      const next = direction > 0 ? all.find((r) => r > state.range) : all.findLast((r) => r < state.range);
      if (next) set({ range: next });
    };
    return [
      h('span', { class: 'group' },
        h('button', { type: 'button', 'aria-label': 'Shorter range', onclick: nearest(-1) }, '−'),
        textInput('Range', formatDuration(state.range), parseDuration, (value) => set({ range: value || 3600 }), { size: 6, list: 'ranges' }),
        h('button', { type: 'button', 'aria-label': 'Longer range', onclick: nearest(1) }, '+')),
      h('span', { class: 'group' },
        h('button', { type: 'button', 'aria-label': 'Earlier', onclick: shift('end', -state.range / 2) }, '‹'),
        timeInput('End (UTC)', 'end'),
        h('button', { type: 'button', 'aria-label': 'Later', onclick: shift('end', state.range / 2) }, '›')),
      textInput('Step', state.step === null ? '' : formatDuration(state.step), parseDuration,
        (value) => set({ step: value || null }), { size: 7, placeholder: formatDuration(autoStep(state.range)) }),
    ];
  }

  function check(label, checked, apply) {
    return h('label', { class: 'check' }, h('input', { type: 'checkbox', checked, onchange: (event) => apply(event.target.checked) }), ` ${label}`);
  }

  function showControls() {
    const focused = controls.contains(document.activeElement) ? [...controls.querySelectorAll('button,input,select')].indexOf(document.activeElement) : -1;
    if (state.tab === 'graph') {
      fill(controls, rangeControls(), check('Stacked', state.stacked, (stacked) => set({ stacked })));
    } else if (state.tab === 'table') {
      fill(controls, h('span', { class: 'group' },
        h('button', { type: 'button', 'aria-label': 'Earlier', onclick: shift('at', -state.range / 2) }, '‹'),
        timeInput('Time (UTC)', 'at'),
        h('button', { type: 'button', 'aria-label': 'Later', onclick: shift('at', state.range / 2) }, '›')));
    } else {
      const of = h('select', { onchange: () => { explain = { ...explain, of: of.value }; show(); } },
        h('option', { value: 'range' }, 'the range query of the graph'), h('option', { value: 'instant' }, 'the instant query of the table'));
      of.value = explain.of;
      fill(controls, field('Of', of), check('with PostgreSQL’s plan', explain.plan, (plan) => { explain = { ...explain, plan }; show(); }));
    }
    if (focused >= 0) controls.querySelectorAll('button,input,select')[focused]?.focus();
  }

  // The parameters of what the tab asks.
  function question() {
    const range = () => {
      const end = state.end ?? Date.now() / 1000;
      const step = state.step ?? autoStep(state.range);
      const round = (seconds) => Math.round(seconds * 1000) / 1000;
      return { start: round(end - state.range), end: round(end), step: round(step) };
    };
    const instant = () => ({ time: state.at ?? Math.round(Date.now()) / 1000 });
    if (state.tab === 'graph') return ['query_range', range()];
    if (state.tab === 'table') return ['query', instant()];
    return ['explain', { ...(explain.of === 'range' ? range() : instant()), plan: explain.plan ? 'true' : '' }];
  }

  function showMessages(error, answer) {
    const lines = (kind, texts) => (texts ?? []).map((text) => h('p', { class: `message ${kind}` }, text));
    const placed = editor.markError(error?.message ?? null);
    fill(message,
      error && h('p', { class: 'message error', role: 'alert', 'data-placed': String(placed) },
        h('strong', null, error.type ? `${error.type}: ` : ''), error.message),
      lines('warning', answer?.warnings), lines('info', answer?.infos));
  }

  async function show() {
    tab.show(state.tab);
    showControls();
    editor.setText(state.expr);
    running?.abort();
    if (state.expr === '') {
      dispose();
      dispose = () => {};
      showMessages(null, null);
      told.textContent = '';
      fill(content, h('p', { class: 'note' }, 'No expression yet. Ctrl-Space completes.'));
      section.dataset.state = 'empty';
      return;
    }
    const [path, parameters] = question();
    const mine = new AbortController();
    running = mine;
    section.dataset.state = 'running';
    content.setAttribute('aria-busy', 'true');
    const began = performance.now();
    try {
      const answer = await call(path, { query: state.expr, ...parameters }, { signal: mine.signal });
      const ms = performance.now() - began;
      dispose();
      dispose = () => {};
      content.replaceChildren();
      showMessages(null, answer);
      told.textContent = `${Math.round(ms)} ms`
        + (parameters.step ? ` · step ${formatDuration(parameters.step)}` : '')
        + (Array.isArray(answer.data.result) && answer.data.resultType !== 'scalar' && answer.data.resultType !== 'string'
          ? ` · ${answer.data.result.length} series` : '');
      if (state.tab === 'graph') {
        dispose = drawChart(content, answer.data.result, parameters, {
          stacked: state.stacked,
          onZoom: (from, to) => set({ range: Math.max(Math.round((to - from) * 1000) / 1000, 0.01), end: Math.round(to * 1000) / 1000 }),
        });
      } else if (state.tab === 'table') drawTable(content, answer.data);
      else drawPlan(content, answer.data);
      section.dataset.state = 'done';
    } catch (error) {
      if (error.name === 'AbortError') return;
      dispose();
      dispose = () => {};
      content.replaceChildren();
      told.textContent = '';
      showMessages(error, null);
      section.dataset.state = 'failed';
    } finally {
      if (running === mine) content.removeAttribute('aria-busy');
    }
  }

  show();
  return {
    focus: () => editor.focus(),
    destroy() {
      running?.abort();
      dispose();
      editor.destroy();
      section.remove();
    },
  };
}

export const rangeList = () => h('datalist', { id: 'ranges' }, ranges.map((r) => h('option', { value: r })));
