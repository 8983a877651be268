// What an object was when somebody began to change it: its tag goes along with the change, which is refused when the object has become
// another meanwhile (412).
import { notifyManager, useQueryClient } from '@tanstack/react-query';
import { createContext, useCallback, useContext, useEffect, useRef, useState } from 'react';
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

/** The tag of an object, '' if it cannot be read, and the object as text. */
async function read(url: string): Promise<[tag: string, text: string]> {
  const answer = await fetch(url, { credentials: 'same-origin', headers: credentials(), cache: 'no-store' });
  return answer.ok ? [answer.headers.get('etag') ?? '', await answer.text()] : ['', ''];
}

const isSame = (text: string, seen: object) => JSON.stringify(JSON.parse(text)) === JSON.stringify(seen);

/** After a change of ours beside the object that its tag follows, such as of a model's price. */
export async function renewTag(path: string): Promise<void> {
  if (tags.has(urlOf(path))) tags.set(urlOf(path), (await read(urlOf(path)))[0]);
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

/**
 * Reads the tag of the object at a path as long as it is being changed, and what shows the object as `seen` anew if it has become another
 * meanwhile. Returns whether that is done, how often it was done again, and how to do so.
 */
export function useTag(path: string, seen?: object): { isRead: boolean; turn: number; reread: () => void } {
  const queries = useQueryClient();
  const [turn, setTurn] = useState(0);
  const [isRead, setRead] = useState(false);
  const first = useRef(seen);
  // Whoever shows the object learns in the manager's next batch that it was read: what comes after has to stand in line behind that.
  const renew = useCallback((then: () => void) => void queries.invalidateQueries().then(() => notifyManager.schedule(then)), [queries]);
  useEffect(() => {
    const url = urlOf(path);
    if (tags.has(url)) { // the form below holds it
      setRead(true);
      return undefined;
    }
    let isHere = true;
    const done = () => { if (isHere) setRead(true); };
    const shown = first.current;
    first.current = undefined; // later turns have just read it
    read(url).then(([tag, text]) => {
      if (isHere && tag) tags.set(url, tag);
      if (tag && shown && !isSame(text, shown)) renew(done);
      else done();
    }, done);
    return () => { isHere = false; tags.delete(url); };
  }, [path, turn, renew]);
  const reread = useCallback(() => renew(() => setTurn((n) => n + 1)), [renew]);
  return { isRead, turn, reread };
}
