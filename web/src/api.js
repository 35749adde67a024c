// The server's HTTP API.  Its address is relative to the page's, whatever prefix is in front.

const base = new URL('.', document.baseURI);

export const pageBase = base.pathname;

export class ApiError extends Error {
  constructor(status, type, message) {
    super(message);
    this.status = status;
    this.type = type;
  }
}

// The whole answer: { data, warnings, infos }.  Long expressions do not fit in a URL, so it is a form.
export async function call(path, parameters = {}, { method = 'POST', signal } = {}) {
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== '') form.append(name, one);
    }
  }
  const url = new URL(`api/v1/${path}`, base);
  if (method === 'GET') url.search = form;
  const response = await fetch(url, {
    method, signal, credentials: 'same-origin', headers: { Accept: 'application/json' }, body: method === 'POST' ? form : undefined,
  });
  const text = await response.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new ApiError(response.status, 'http', `HTTP ${response.status}: ${text.trim().slice(0, 200) || response.statusText}`);
  }
  if (answer.status !== 'success') throw new ApiError(response.status, answer.errorType, answer.error ?? `HTTP ${response.status}`);
  return answer;
}

export const get = (path, parameters, options) => call(path, parameters, { ...options, method: 'GET' });

// The same, but null from a server that does not have the endpoint.
export async function getIfThere(path, parameters) {
  try {
    return await get(path, parameters);
  } catch (error) {
    if (error instanceof ApiError && (error.status === 404 || error.status === 405)) return null;
    throw error;
  }
}

// Where in the text an error of the parser is: "invalid parameter "query": 1:5: parse error: …", as an
// index into a JavaScript string; null if it does not say.  Columns count bytes of UTF-8, from 1.
export function placeOf(message, text) {
  const found = message.match(/(?:^|: )(\d+):(\d+): /);
  if (!found) return null;
  const lines = text.split('\n');
  const line = Math.min(Number(found[1]), lines.length) - 1;
  let at = lines.slice(0, line).reduce((sum, l) => sum + l.length + 1, 0);
  let bytes = Number(found[2]) - 1;
  for (const character of lines[line]) {
    if (bytes <= 0) break;
    bytes -= new TextEncoder().encode(character).length;
    at += character.length;
  }
  return Math.min(at, text.length);
}
