// The SQL behind a query, what running it read, and PostgreSQL's plan.
import { fill, h, table } from './dom.js';
import { formatCount, formatNumber } from './format.js';

const keywords = new Set(`SELECT FROM WHERE AND OR NOT AS ON JOIN LEFT RIGHT INNER FULL CROSS LATERAL GROUP ORDER BY UNION ALL IS
  NULL DISTINCT WITH CASE WHEN THEN ELSE END LIMIT USING HAVING ARRAY EXISTS IN VALUES OPERATOR COALESCE MATERIALIZED`.split(/\s+/));

function sqlTokens(sql) {
  return [...sql.matchAll(/('(?:[^']|'')*'|"(?:[^"]|"")*")|(\b\d+(?:\.\d+)?\b)|([A-Za-z_][\w$]*)|([^'"\w]+|.)/g)]
    .map(([text, string, number, word]) => string ? h('span', { class: 'string' }, text)
      : number ? h('span', { class: 'literal' }, text)
        : word && keywords.has(word) ? h('span', { class: 'keyword' }, text) : text);
}

// A block of text and its button.  Over plain HTTP from elsewhere there is no clipboard; then the text is selected.
function block(title, name, text, content) {
  const pre = h('pre', { class: name, tabindex: '0', 'aria-label': title }, content);
  const copy = h('button', {
    type: 'button', class: 'copy',
    onclick: async () => {
      try {
        await navigator.clipboard.writeText(text);
        copy.textContent = 'Copied';
      } catch {
        getSelection().selectAllChildren(pre);
        copy.textContent = 'Selected';
      }
    },
  }, 'Copy');
  return [h('h3', null, `${title} `, copy), pre];
}

export function drawPlan(parent, told) {
  const longest = Math.max(...told.nodes.map((node) => node.own_ms ?? 0), 0.001);
  fill(parent,
    h('h3', null, 'What it did'),
    table('Time by node of the expression',
      ['Node', { class: 'number', content: 'Series' }, { class: 'number', content: 'Time' }, { class: 'number', content: 'Own time' }, ''],
      told.nodes.map((node) => {
        const bar = h('span', { class: 'bar', 'aria-hidden': 'true' });
        bar.style.width = `${(100 * (node.own_ms ?? 0)) / longest}%`;
        const expr = h('code', null, node.expr);
        expr.style.paddingLeft = `${(node.depth ?? 0) * 1.2}em`;
        return [expr, { class: 'number', content: formatCount(node.series ?? 0) }, { class: 'number', content: `${node.ms} ms` },
          { class: 'number', content: `${node.own_ms} ms` }, { class: 'bars', content: bar }];
      })),
    h('ul', { class: 'facts' },
      [`Series: ${formatCount(told.series.matched)} matched`,
        `Chunks: ${formatCount(told.chunks.read)} read, ${formatCount(told.chunks.unused)} of them in vain, in ${formatNumber(told.chunks.days, 'day')} (${told.chunks.days_pruned} pruned)`,
        `Fresh rows: ${formatCount(told.fresh.read)} opened, ${formatCount(told.fresh.pruned)} pruned`,
        `Samples decoded: ${formatCount(told.samples)}`,
        `Planning ${told.planning_ms} ms, execution ${told.execution_ms} ms`].map((fact) => h('li', null, fact))),
    block('SQL', 'sql', told.sql, sqlTokens(told.sql)),
    h('p', { class: 'muted' }, 'Pasted in psql it gives the same rows.'),
    told.plan && block('Plan of PostgreSQL', 'plan', told.plan, told.plan));
}
