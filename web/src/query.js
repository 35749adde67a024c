// The view of queries: one panel under the other.
import { fill, h } from './dom.js';
import { makePanel, rangeList } from './panel.js';
import { newPanel } from './state.js';

export function showQueries(main, state, { changed }) {
  let panels = [];
  const list = h('div', null);

  function draw() {
    panels.forEach((panel) => panel.destroy());
    panels = state.panels.map((panel, i) => makePanel(list, panel, i, {
      changed,
      remove: state.panels.length === 1 ? null : () => {
        state.panels.splice(i, 1);
        changed();
        draw();
      },
    }));
  }

  fill(main, h('h1', { class: 'hidden' }, 'Query'), rangeList(), list, h('button', {
    type: 'button',
    onclick: () => {
      state.panels.push(newPanel());
      changed();
      draw();
      panels.at(-1).focus();
    },
  }, 'Add a query'));
  draw();
  if (state.panels.every((panel) => panel.expr === '')) panels[0].focus();
  return () => panels.forEach((panel) => panel.destroy());
}
