'use strict';
function el(name, text, parent) {
  const e = document.createElement(name);
  if (text !== undefined) e.textContent = text;
  if (parent) parent.append(e);
  return e;
}
function operation(method, path, op, parent) {
  const d = el('details', undefined, parent), s = el('summary', undefined, d);
  d.id = op.operationId;
  d.dataset.text = (method + ' ' + path + ' ' + op.summary).toLowerCase();
  el('b', method.toUpperCase(), s); el('code', path, s); el('span', op.summary, s);
  d.addEventListener('toggle', () => { if (d.open && d.children.length === 1) body(method, path, op, d); });
}
function body(method, path, op, d) {
  const b = el('div', undefined, d); b.className = 'body';
  el('h3', 'Access', b); el('p', op.security.length ? 'A key, as Authorization: Bearer, x-api-key, x-goog-api-key or ?key=' : 'Public', b);
  if (op.parameters.length) {
    el('h3', 'Parameters', b);
    const list = el('dl', undefined, b);
    for (const p of op.parameters) {
      const dt = el('dt', p.name, list);
      el('code', p.in, dt);
      if (p.description) el('dd', p.description, list);
    }
  }
  const content = op.requestBody && op.requestBody.content;
  for (const type in content || {}) {
    el('h3', 'Body: ' + type, b);
    el('pre', JSON.stringify(content[type].schema, null, 2), b);
    if (content[type].example) {
      el('h3', 'Try it', b);
      el('pre', `curl ${location.origin}${path.replace(/\{model\}/, 'echo')} \\\n  -H "Authorization: Bearer $SLUICE_KEY" -H "Content-Type: application/json" \\\n  -d '${JSON.stringify(content[type].example)}'`, b);
    }
  }
  el('h3', 'Answers', b);
  const list = el('dl', undefined, b);
  for (const status in op.responses) {
    const r = op.responses[status], dt = el('dt', status, list);
    for (const type in r.content || {}) el('code', type, dt);
    el('dd', r.description, list);
  }
}
function show(doc) {
  const main = document.getElementById('operations');
  main.replaceChildren();
  for (const tag of doc.tags) {
    const section = el('section', undefined, main);
    el('h2', tag.name, section);
    for (const path in doc.paths) for (const method in doc.paths[path]) {
      const op = doc.paths[path][method];
      if (op.tags[0] === tag.name) operation(method, path, op, section);
    }
  }
  const asked = document.getElementById(location.hash.slice(1));
  if (asked && asked.tagName === 'DETAILS') {
    asked.open = true;
    asked.scrollIntoView();
  }
}
document.getElementById('filter').addEventListener('input', ev => {
  const want = ev.target.value.toLowerCase();
  for (const d of document.querySelectorAll('details')) d.hidden = !d.dataset.text.includes(want);
  for (const s of document.querySelectorAll('section')) s.hidden = !s.querySelector('details:not([hidden])');
});
fetch('openapi.json').then(r => r.ok ? r.json() : Promise.reject(new Error('HTTP ' + r.status))).then(show).catch(e => {
  document.getElementById('operations').textContent = 'The document could not be loaded: ' + e.message;
});
