// The SQL behind a query, what running it read, and PostgreSQL's plan.
import { fill, h, table } from './dom.js';
import { formatCount } from './format.js';

const keywords = new Set(`SELECT FROM WHERE AND OR NOT AS ON JOIN LEFT RIGHT INNER FULL CROSS LATERAL GROUP ORDER BY UNION ALL IS
  NULL DISTINCT WITH CASE WHEN THEN ELSE END LIMIT USING HAVING ARRAY EXISTS IN VALUES OPERATOR COALESCE MATERIALIZED`.split(/\s+/));

function sqlTokens(sql) {
  return [...sql.matchAll(/('(?:[^']|'')*'|"(?:[^"]|"")*")|(\b\d+(?:\.\d+)?\b)|([A-Za-z_][\w$]*)|([^'"\w]+|.)/g)]
    .map(([text, string, number, word]) => string ? h('span', { class: 'string' }, text)
      : number ? h('span', { class: 'literal' }, text)
        : word && keywords.has(word) ? h('span', { class: 'keyword' }, text) : text);
}

const copy = (text) => h('button', {
  type: 'button', class: 'copy',
  onclick: async (event) => {
    const button = event.currentTarget;
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
  },
}, 'Copy');

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
        `Chunks: ${formatCount(told.chunks.read)} read, ${formatCount(told.chunks.unused)} of them in vain, in ${told.chunks.days} days (${told.chunks.days_pruned} pruned)`,
        `Fresh rows: ${formatCount(told.fresh.read)} opened, ${formatCount(told.fresh.pruned)} pruned`,
        `Samples decoded: ${formatCount(told.samples)}`,
        `Planning ${told.planning_ms} ms, execution ${told.execution_ms} ms`].map((fact) => h('li', null, fact))),
    h('h3', null, 'SQL ', copy(told.sql)),
    h('p', { class: 'muted' }, 'Pasted in psql it gives the same rows.'),
    h('pre', { class: 'sql', tabindex: '0', 'aria-label': 'SQL of the query' }, sqlTokens(told.sql)),
    told.plan && [h('h3', null, 'Plan ', copy(told.plan)), h('pre', { class: 'plan', tabindex: '0', 'aria-label': 'Plan of PostgreSQL' }, told.plan)]);
}
