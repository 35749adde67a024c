// The input of an expression: CodeMirror with PromQL's highlighting, completion and our marks.
//
// It lives in a shadow root.  There CodeMirror adopts its style sheets; in the document it would write
// style elements, which the page's Content-Security-Policy forbids.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, completionStatus } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { HighlightStyle, bracketMatching, indentOnInput, syntaxHighlighting } from '@codemirror/language';
import { setDiagnostics } from '@codemirror/lint';
import { EditorState, Prec } from '@codemirror/state';
import { EditorView, drawSelection, keymap, placeholder } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { PromQLExtension } from '@prometheus-io/codemirror-promql';
import { pageBase, placeOf } from './api.js';

const highlight = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword], color: 'var(--syntax-keyword)', fontWeight: '600' },
  { tag: tags.modifier, color: 'var(--syntax-keyword)' },
  { tag: [tags.function(tags.variableName), tags.standard(tags.variableName)], color: 'var(--syntax-function)' },
  { tag: tags.labelName, color: 'var(--syntax-label)' },
  { tag: tags.string, color: 'var(--syntax-string)' },
  { tag: [tags.number, tags.literal], color: 'var(--syntax-number)' },
  { tag: tags.operator, color: 'var(--syntax-operator)' },
  { tag: tags.comment, color: 'var(--muted)', fontStyle: 'italic' },
  { tag: tags.invalid, color: 'var(--error)' },
]);

const theme = EditorView.theme({
  '&': { fontSize: '14px', color: 'var(--text)', backgroundColor: 'var(--field)', borderRadius: '6px' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.5' },
  '.cm-content': { padding: '7px 4px', caretColor: 'var(--text)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '.cm-placeholder': { color: 'var(--muted)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': {
    backgroundColor: 'var(--selection)',
  },
  '.cm-matchingBracket, &.cm-focused .cm-matchingBracket': { backgroundColor: 'var(--selection)' },
  '.cm-tooltip': {
    backgroundColor: 'var(--surface)', color: 'var(--text)', border: '1px solid var(--border)', borderRadius: '6px',
    boxShadow: '0 6px 20px rgb(0 0 0 / .2)',
  },
  '.cm-tooltip.cm-tooltip-autocomplete > ul': { fontFamily: 'var(--mono)', fontSize: '13px', maxHeight: '18em' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li': { padding: '2px 8px' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--on-accent)' },
  '.cm-completionMatchedText': { textDecoration: 'none', fontWeight: '700' },
  '.cm-completionDetail': { float: 'right', marginLeft: '1.5em', opacity: '.75' },
  '.cm-completionInfo': { maxWidth: '28em', padding: '6px 10px' },
  '.cm-completionIcon': { display: 'none' },
  '.cm-diagnostic-error': { borderLeftColor: 'var(--error)' },
  '.cm-lintRange-error, .cm-lintPoint-error': {
    backgroundImage: 'none', textDecoration: 'underline wavy var(--error) 1.5px', textUnderlineOffset: '3px',
    backgroundColor: 'color-mix(in srgb, var(--error) 18%, transparent)',
  },
  '.cm-lintPoint::after': { borderBottomColor: 'var(--error)' },
});

export function makeEditor(parent, { text, label, hint, describedBy, onEnter, onChange }) {
  const root = parent.attachShadow({ mode: 'open' });
  const promql = new PromQLExtension().activateLinter(false).setComplete({
    // Long-term: names of metrics that have ended are offered, too.
    remote: { url: '', lookbackInterval: 30 * 86400 * 1000, apiPrefix: `${pageBase}api/v1`, httpErrorHandler: () => {} },
    maxMetricsMetadata: 20000,
  });
  const run = () => {
    onEnter(view.state.doc.toString());
    return true;
  };
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: text,
      extensions: [
        Prec.highest(keymap.of([{ key: 'Mod-Enter', run }])),
        history(), drawSelection(), indentOnInput(), bracketMatching(), closeBrackets(),
        autocompletion({ activateOnTypingDelay: 50 }),
        // Tab leaves the field, as everywhere; Enter takes a completion if one is shown, and runs.
        // What has only just been offered is not taken by mistake, but nothing is run by mistake either.
        keymap.of([...closeBracketsKeymap, ...completionKeymap, { key: 'Enter', run: () => completionStatus(view.state) === 'active' || run(), shift: () => false },
          ...historyKeymap, ...defaultKeymap]),
        EditorView.lineWrapping,
        placeholder(hint),
        syntaxHighlighting(highlight), theme, promql.asExtension(),
        EditorView.contentAttributes.of({ 'aria-label': label, 'aria-multiline': 'true' }),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          onChange(update.state.doc.toString());
        }),
      ],
    }),
  });
  view.contentDOM.setAttribute('aria-describedby', describedBy);

  return {
    view,
    text: () => view.state.doc.toString(),
    setText(newText) {
      if (newText !== view.state.doc.toString()) {
        view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: newText } });
      }
    },
    // Mark the place that the message names; false if it names none.
    markError(message) {
      const doc = view.state.doc.toString();
      const at = message === null ? null : placeOf(message, doc);
      const word = at === null ? 0 : (doc.slice(at).match(/^[\w:]+/)?.[0].length ?? 1);
      const to = at === null ? 0 : Math.min(at + word, doc.length);
      view.dispatch(setDiagnostics(view.state, at === null ? [] : [{
        from: at === to && at > 0 ? at - 1 : at, to, severity: 'error', message: message.replace(/^invalid parameter "query": /, ''),
      }]));
      return at !== null;
    },
    focus: () => view.focus(),
    destroy: () => view.destroy(),
  };
}
