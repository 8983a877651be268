// Whether the server answers at all. Known from the calls that are made anyway; while it does not, it is asked every two seconds.
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { apiUrl, noteUnreachable, onUnreachable } from './client';

const everyMs = 2_000;
const isThere = (): Promise<boolean> => fetch(new URL('livez', apiUrl), { cache: 'no-store' }).then((answer) => answer.ok, () => false);

/** Returns when the server answers. */
export async function untilThere(): Promise<void> {
  while (!(await isThere())) {
    noteUnreachable();
    await new Promise((done) => { setTimeout(done, everyMs); });
  }
}

export function useIsAway(): boolean {
  const queries = useQueryClient();
  const [isAway, setAway] = useState(false);
  useEffect(() => onUnreachable(() => setAway(true)), []);
  useEffect(() => {
    const leave = () => setAway(true);
    addEventListener('offline', leave);
    return () => removeEventListener('offline', leave);
  }, []);
  useEffect(() => {
    if (!isAway) return;
    const timer = setInterval(() => {
      void isThere().then((is) => {
        if (!is) return;
        setAway(false);
        void queries.invalidateQueries();
      });
    }, everyMs);
    return () => clearInterval(timer);
  }, [isAway, queries]);
  return isAway;
}
