// What an object was when somebody began to change it: its tag goes along with the change, which is refused when the object has become
// another meanwhile (412).
import { useQueryClient } from '@tanstack/react-query';
import { createContext, useCallback, useContext, useEffect, useState } from 'react';
import { ApiError, apiUrl, credentials } from './client';

const tags = new Map<string, string>();
const plain = (url: string) => url.split('?')[0] ?? url;

export const tagOf = (url: string): string | undefined => tags.get(plain(url));
/** The next change is made whatever the object has become. */
export const forgetTag = (url: string): void => void tags.delete(plain(url));
/** What the server says it is after a change of ours. */
export function noteTag(url: string, tag: string | null): void {
  if (tags.has(plain(url)) && tag) tags.set(plain(url), tag);
}

const urlOf = (path: string) => new URL(path.replace(/^\//, ''), apiUrl).href;

async function read(url: string): Promise<string> {
  const answer = await fetch(url, { credentials: 'same-origin', headers: credentials(), cache: 'no-store' });
  return answer.ok ? (answer.headers.get('etag') ?? '') : '';
}

/** After a change of ours beside the object that its tag follows, such as of a model's price. */
export async function renewTag(path: string): Promise<void> {
  if (tags.has(urlOf(path))) tags.set(urlOf(path), await read(urlOf(path)));
}

/** Changes an object that a list shows if it still is what is shown: its tag goes along with the change, as from a form. */
export async function asSeen<T>(path: string, seen: object, change: () => Promise<T>): Promise<T> {
  const url = urlOf(path);
  if (tags.has(url)) return change(); // a form holds it
  const answer = await fetch(url, { credentials: 'same-origin', headers: credentials(), cache: 'no-store' });
  const now: unknown = await answer.json().catch(() => null);
  if (!answer.ok) throw new ApiError(answer.status, now, answer.headers.get('x-request-id') ?? '', url);
  if (JSON.stringify(now) !== JSON.stringify(seen)) throw new ApiError(412, null, '', url);
  const tag = answer.headers.get('etag');
  if (tag) tags.set(url, tag);
  try {
    return await change();
  } finally {
    tags.delete(url);
  }
}

export const Reread = createContext<(() => void) | null>(null);
export const useReread = () => useContext(Reread);

/** Reads the tag of the object at a path as long as it is being changed. Returns how often it was read anew and how to do so. */
export function useTag(path: string): { turn: number; reread: () => void } {
  const queries = useQueryClient();
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const url = urlOf(path);
    if (tags.has(url)) return undefined; // the form below holds it
    let isHere = true;
    read(url).then((tag) => { if (isHere && tag) tags.set(url, tag); }, () => undefined);
    return () => { isHere = false; tags.delete(url); };
  }, [path, turn]);
  const reread = useCallback(() => void queries.invalidateQueries().then(() => setTurn((n) => n + 1)), [queries]);
  return { turn, reread };
}
