// What became of a body on its way: each value kept where it was, mapped to another place or value, dropped, or added.
export type Fate = 'kept' | 'mapped' | 'dropped' | 'added';
export interface Line { text: string; path?: string }
export interface Compared { from: Map<string, Fate>; to: Map<string, Fate>; place: Map<string, string> }

type Leaves = Map<string, string>;

function gather(value: unknown, path: string, out: Leaves): void {
  if (Array.isArray(value)) {
    if (value.length === 0) out.set(path, '[]');
    value.forEach((v, i) => gather(v, `${path}[${i}]`, out));
  } else if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value);
    if (entries.length === 0) out.set(path, '{}');
    for (const [k, v] of entries) gather(v, path ? `${path}.${k}` : k, out);
  } else out.set(path, JSON.stringify(value));
}

const lastName = (path: string) => path.replace(/\[\d+\]/g, '').split('.').pop() ?? '';
/** Values that say little by themselves are only taken for the same thing under the same name. */
const isTelling = (text: string) => text.length > 3 && text !== 'true' && text !== 'false' && text !== 'null';

export function compare(from: unknown, to: unknown): Compared {
  const a: Leaves = new Map();
  const b: Leaves = new Map();
  gather(from, '', a);
  gather(to, '', b);
  const out: Compared = { from: new Map(), to: new Map(), place: new Map() };
  const settle = (p: string, q: string, fate: Fate) => { out.from.set(p, fate); out.to.set(q, fate); out.place.set(p, q); };
  for (const [p, v] of a) if (b.get(p) === v) settle(p, p, 'kept');
  const left = new Map<string, string[]>(); // value -> places in `to` that are not settled
  for (const [q, v] of b) if (!out.to.has(q)) left.set(v, [...(left.get(v) ?? []), q]);
  for (const [p, v] of a) {
    if (out.from.has(p)) continue;
    const places = left.get(v) ?? [];
    const i = places.findIndex((q) => lastName(q) === lastName(p));
    const k = i >= 0 ? i : isTelling(v) ? 0 : -1;
    const q = places[k];
    if (q === undefined) continue;
    places.splice(k, 1);
    settle(p, q, 'mapped');
  }
  for (const p of a.keys()) if (!out.from.has(p) && b.has(p) && !out.to.has(p)) settle(p, p, 'mapped');
  for (const p of a.keys()) if (!out.from.has(p)) out.from.set(p, 'dropped');
  for (const q of b.keys()) if (!out.to.has(q)) out.to.set(q, 'added');
  return out;
}

/** A value as indented lines, each leaf with its path. */
export function lines(value: unknown, path = '', indent = '', before = '', after = ''): Line[] {
  const isList = Array.isArray(value);
  if (value !== null && typeof value === 'object') {
    const entries: [string, unknown][] = isList ? value.map((v, i) => [`[${i}]`, v]) : Object.entries(value);
    const [open, close] = isList ? ['[', ']'] : ['{', '}'];
    if (entries.length === 0) return [{ text: `${indent}${before}${open}${close}${after}`, path }];
    return [
      { text: `${indent}${before}${open}` },
      ...entries.flatMap(([k, v], i) => lines(v, isList ? `${path}${k}` : path ? `${path}.${k}` : k, `${indent}  `, isList ? '' : `${JSON.stringify(k)}: `, i < entries.length - 1 ? ',' : '')),
      { text: `${indent}${close}${after}` },
    ];
  }
  return [{ text: `${indent}${before}${JSON.stringify(value)}${after}`, path }];
}

export function parsed(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return value !== null && typeof value === 'object' ? value : undefined;
  } catch {
    return undefined;
  }
}
