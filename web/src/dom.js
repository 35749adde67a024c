// Elements without innerHTML: what comes from the server is text and stays text.

// h('button', { class: 'x', onclick: f }, 'text', node, [nodes], null)
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'value') element.value = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  append(element, children);
  return element;
}

export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

// A table; rows are arrays of cells, a cell is text, a node or { class, content }.
export function table(caption, columns, rows) {
  const cell = (tag, content, attributes) =>
    content !== null && typeof content === 'object' && 'content' in content
      ? h(tag, { ...attributes, class: content.class, title: content.title }, content.content)
      : h(tag, attributes, content);
  return h('div', { class: 'scroll' }, h('table', null,
    h('caption', { class: 'hidden' }, caption),
    h('thead', null, h('tr', null, columns.map((c) => cell('th', c, { scope: 'col' })))),
    h('tbody', null, rows.map((row) => h('tr', null, row.map((c) => cell('td', c)))))));
}

// Tabs with the roles and keys that assistive technology knows; choose(name) is told.
export function tabs(label, names, choose) {
  const group = `tabs-${++tabs.count}`;
  const buttons = Object.entries(names).map(([name, text]) => h('button', {
    type: 'button', role: 'tab', id: `${group}-${name}`, 'data-tab': name, 'aria-controls': `${group}-panel`,
    onclick: () => choose(name),
  }, text));
  const panel = h('div', { role: 'tabpanel', id: `${group}-panel`, class: 'tabpanel' });
  const list = h('div', {
    role: 'tablist', 'aria-label': label, class: 'tabs',
    onkeydown: (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const at = buttons.indexOf(document.activeElement);
      const next = buttons[(at + step + buttons.length) % buttons.length];
      next.focus();
      next.click();
      event.preventDefault();
    },
  }, buttons);
  const show = (name) => {
    for (const button of buttons) {
      const chosen = button.dataset.tab === name;
      button.setAttribute('aria-selected', String(chosen));
      button.tabIndex = chosen ? 0 : -1;
      if (chosen) panel.setAttribute('aria-labelledby', button.id);
    }
  };
  return { list, panel, show };
}
tabs.count = 0;

// A field with its label.
export function field(label, control) {
  return h('label', { class: 'field' }, h('span', null, label), control);
}
