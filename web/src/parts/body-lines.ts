// A body as lines, and what became of the value on each: told by the server (GET /sluice/v1/requests/{id}/translation).
import type { Fate, Way } from '../api/requests';

export interface Line { text: string; path?: string }
/** At a place of one body: what became of the value, and where it stands in the other. */
export type Marks = Map<string, { fate: Fate; other: string }>;

export function marksOf(way: Way | undefined, side: 'from' | 'to'): Marks {
  const marks: Marks = new Map();
  const other = side === 'from' ? 'to' : 'from';
  for (const v of way?.values ?? []) if (v[side] !== null) marks.set(v[side], { fate: v.fate, other: v[other] ?? '' });
  return marks;
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
