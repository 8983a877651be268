// What each page asked the server for: the exact requests, for its "API" button. Secrets are taken out before anything is remembered.
import { dashboardUrl } from './client';

export interface Call { method: string; path: string; body?: unknown }

const most = 40; // of a page
const made = new Map<string, Map<string, Call>>();
const page = () => location.pathname.slice(dashboardUrl.pathname.length).split('/')[0] ?? '';
const isSecret = (name: string) => /key$|keys$|password|token|secret/i.test(name);

function masked(value: unknown, name = ''): unknown {
  if (typeof value === 'string') return value && isSecret(name) ? '…' : value.replace(/\/\/[^/@\s]*@/g, '//…@');
  if (Array.isArray(value)) return value.map((v) => masked(v, name));
  if (value !== null && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, masked(v, k)]));
  return value;
}

/** Requests that differ only in what they look for count as one: the latest is shown, where the first stood. The body is what it was written from. */
export function noteCall(base: string, request: Request, body?: unknown): void {
  const url = new URL(request.url);
  const path = `/${request.url.slice(base.length)}`;
  const id = `${request.method} ${url.pathname} ${[...url.searchParams.keys()].sort().join()}`;
  const at = page();
  const calls = made.get(at) ?? new Map<string, Call>();
  made.set(at, calls);
  calls.set(id, { method: request.method, path, ...(body !== undefined && { body: masked(body) }) });
  const [oldest] = calls.keys();
  if (calls.size > most && oldest !== undefined) calls.delete(oldest);
}

/** What the open page asked for so far, and of what it can ask besides what was not. */
export function callsWith(can: readonly Call[]): Call[] {
  const did = [...(made.get(page())?.values() ?? [])];
  const bare = (c: Call) => `${c.method} ${c.path.split('?')[0]}`;
  const done = new Set(did.map(bare));
  return [...did, ...can.filter((c) => !done.has(bare(c)))];
}
