// The graph of a range query: uPlot with a legend of buttons, a tooltip and zoom by dragging.
import uPlot from 'uplot';
import { fill, h } from './dom.js';
import { formatLabels, formatTime, parseValue, shortNumber } from './format.js';

const maxSeries = 1000;
const shownInLegend = 60;

// What a named colour is now, for the canvas.
function css(name) {
  const probe = document.body.appendChild(h('span', { hidden: true }));
  probe.style.color = `var(${name})`;
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

const isDark = () => document.documentElement.dataset.theme === 'dark';

// Twelve hues that are told apart, then more of them by the golden angle.
const hues = [16, 210, 140, 275, 45, 185, 330, 95, 240, 0, 165, 300];
function colour(i) {
  const hue = i < hues.length ? hues[i] : (i * 137.508) % 360;
  return `hsl(${hue.toFixed(0)} ${i < hues.length ? 70 : 55}% ${isDark() ? 63 : 42}%)`;
}

// Columns over all steps of the query; what is absent or no number is a gap.
function columns(result, { start, end, step }) {
  const n = Math.floor((end - start) / step + 1e-6) + 1;
  const times = Array.from({ length: n }, (_, i) => start + i * step);
  const values = result.map((series) => {
    const column = new Array(n).fill(null);
    for (const [t, text] of series.values ?? []) {
      const value = parseValue(text);
      const at = Math.round((t - start) / step);
      if (at >= 0 && at < n) column[at] = Number.isFinite(value) ? value : null;
    }
    return column;
  });
  return { times, values };
}

// Times of the axis: as much of them as differs, the day where it begins and at the first.
function axisTimes(u, splits, axis, space, step) {
  let day = '';
  return splits.map((seconds) => {
    const [date, time] = formatTime(seconds).split(' ');
    if (step >= 86400) return date;
    const text = step >= 60 ? time.slice(0, 5) : time;
    const shown = date === day ? text : `${text}\n${date}`;
    day = date;
    return shown;
  });
}

export function drawChart(parent, result, query, { stacked, onZoom }) {
  const drawn = result.filter((series) => series.values?.length).slice(0, maxSeries);
  const without = result.filter((series) => !series.values?.length).length;
  const { times, values } = columns(drawn, query);
  const names = drawn.map((series) => formatLabels(series.metric));
  const hidden = new Set();
  const canvas = h('div', { class: 'canvas' });
  const tooltip = h('div', { class: 'tooltip', hidden: true });
  const legend = h('ul', { class: 'legend', 'aria-label': 'Series; choose one to hide or show it' });
  let plot = null;
  let near = null;

  fill(parent,
    drawn.length === 0 && h('p', { class: 'note' }, 'No series to draw.'),
    result.length - without > maxSeries && h('p', { class: 'note warning' },
      `The first ${maxSeries} of ${result.length - without} series are drawn: aggregate, or look at the table.`),
    without > 0 && h('p', { class: 'note' }, `${without} series of native histograms are not drawn: the table shows them.`),
    canvas, legend);

  // What uPlot gets: when stacked each column is the sum of those below it.
  function plotted() {
    if (!stacked) return [times, ...values];
    const sum = new Array(times.length).fill(0);
    return [times, ...values.map((column, i) => hidden.has(i) ? column.map(() => null)
      : column.map((v, k) => (sum[k] += v ?? 0)))];
  }

  // Of stacked series the one whose area the mouse is in, otherwise the one whose line is near.
  function pointed(u) {
    if (!stacked) return near;
    const { idx, left, top } = u.cursor;
    if (idx === null || idx === undefined || left < 0) return null;
    const value = u.posToVal(top, 'y');
    const at = value < 0 ? -1 : values.findIndex((_, i) => !hidden.has(i) && u.data[i + 1][idx] >= value);
    return at < 0 ? null : at;
  }

  function moveTooltip(u) {
    const { idx, left, top } = u.cursor;
    const nearest = pointed(u);
    if (nearest === null || idx === null || idx === undefined || left < 0 || values[nearest][idx] === null) {
      tooltip.hidden = true;
      return;
    }
    const labels = Object.entries(drawn[nearest].metric).sort(([a], [b]) => (a < b ? -1 : 1));
    fill(tooltip,
      h('div', { class: 'muted' }, `${formatTime(times[idx])} UTC`),
      h('div', null, swatch(nearest), drawn[nearest].metric.__name__ ?? 'value', ': ', h('strong', null, String(values[nearest][idx]))),
      labels.filter(([name]) => name !== '__name__').map(([name, value]) => h('div', null, h('b', null, name), ': ', value)));
    tooltip.hidden = false;
    const flip = left > u.over.clientWidth / 2;
    tooltip.style.left = flip ? '' : `${left + 15}px`;
    tooltip.style.right = flip ? `${u.over.clientWidth - left + 15}px` : '';
    tooltip.style.top = `${Math.min(top + 10, Math.max(0, u.over.clientHeight - tooltip.offsetHeight))}px`;
  }

  function swatch(i) {
    const mark = h('span', { class: 'swatch', 'aria-hidden': 'true' });
    mark.style.backgroundColor = colour(i);
    return mark;
  }

  function draw() {
    plot?.destroy();
    if (drawn.length === 0) return;
    const axis = { stroke: css('--muted'), grid: { stroke: css('--grid'), width: 1 }, ticks: { stroke: css('--grid'), width: 1 } };
    plot = new uPlot({
      width: Math.max(canvas.clientWidth, 200),
      height: 380,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC'),
      legend: { show: false },
      focus: { alpha: 0.35 },
      cursor: { focus: { prox: stacked ? -1 : 30 }, drag: { x: true, y: false, setScale: false }, points: { size: 7 } },
      scales: {
        x: { range: () => [query.start, Math.max(query.end, query.start + 1)] },
        y: { range: (u, low, high) => (low === null ? [0, 1] : uPlot.rangeNum(stacked ? Math.min(low, 0) : low, high, 0.1, true)) },
      },
      padding: [null, 38, null, null],
      axes: [{ ...axis, values: axisTimes, space: 70 }, {
        ...axis,
        values: (u, splits) => splits.map(shortNumber),
        size: (u, labels) => Math.max(44, ...(labels ?? []).map((label) => label.length * 7.5 + 16)),
      }],
      series: [{}, ...values.map((column, i) => ({
        label: names[i],
        show: !hidden.has(i),
        stroke: colour(i),
        width: 1.5,
        fill: stacked ? colour(i).replace(')', ' / .35)') : undefined,
        points: { show: column.every((v, k) => v === null || (column[k - 1] ?? null) === null && (column[k + 1] ?? null) === null) || undefined, size: 4 },
      }))],
      bands: stacked ? bands() : [],
      hooks: {
        setSelect: [(u) => {
          if (u.select.width < 4) return;
          onZoom(u.posToVal(u.select.left, 'x'), u.posToVal(u.select.left + u.select.width, 'x'));
        }],
        setSeries: [(u, i) => {
          near = i === null || i === undefined || i === 0 ? null : i - 1;
          moveTooltip(u);
        }],
        setCursor: [moveTooltip],
      },
    }, plotted(), canvas);
    plot.over.append(tooltip);
    plot.root.setAttribute('role', 'img');
    plot.root.setAttribute('aria-label', `Graph of ${drawn.length} series; the table has their values`);
  }

  // The area of a series ends at the series below it.
  function bands() {
    const shown = values.map((_, i) => i + 1).filter((i) => !hidden.has(i - 1));
    return shown.slice(1).map((upper, k) => ({ series: [upper, shown[k]] }));
  }

  // Choose one to hide or show it, with Ctrl or Shift to see it alone.
  function toggle(i, alone) {
    if (alone) {
      const isAlone = !hidden.has(i) && hidden.size === drawn.length - 1;
      hidden.clear();
      if (!isAlone) drawn.forEach((_, k) => k !== i && hidden.add(k));
    } else if (!hidden.delete(i)) hidden.add(i);
    draw();
    [...legend.querySelectorAll('button[data-series]')].forEach((button) =>
      button.setAttribute('aria-pressed', String(!hidden.has(Number(button.dataset.series)))));
  }

  function last(i) {
    return values[i].findLast((v) => v !== null);
  }

  function fillLegend(all) {
    const shown = all ? drawn : drawn.slice(0, shownInLegend);
    fill(legend, shown.map((series, i) => h('li', null, h('button', {
      type: 'button', 'data-series': i, 'aria-pressed': String(!hidden.has(i)), title: 'Hide or show; with Ctrl or Shift: alone',
      onclick: (event) => toggle(i, event.ctrlKey || event.shiftKey || event.metaKey),
      onmouseenter: () => plot?.setSeries(i + 1, { focus: true }),
      onmouseleave: () => plot?.setSeries(null, { focus: true }),
    }, swatch(i), h('span', { class: 'name' }, names[i]), h('span', { class: 'last' }, shortNumber(last(i)))))),
    shown.length < drawn.length && h('li', null, h('button', { type: 'button', class: 'more', onclick: () => fillLegend(true) },
      `${drawn.length - shown.length} more`)));
  }

  draw();
  fillLegend(false);
  const resized = new ResizeObserver(() => {
    if (plot && Math.abs(plot.width - canvas.clientWidth) > 1) plot.setSize({ width: Math.max(canvas.clientWidth, 200), height: 380 });
  });
  resized.observe(canvas);
  const recolour = () => {
    draw();
    fillLegend(legend.childElementCount > shownInLegend + 1);
  };
  window.addEventListener('themechange', recolour);
  return () => {
    resized.disconnect();
    window.removeEventListener('themechange', recolour);
    plot?.destroy();
  };
}
