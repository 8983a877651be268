// Whether the server answers at all. Known from the calls that are made anyway; while it does not, it is asked every two seconds.
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { apiUrl, onUnreachable } from './client';

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
      fetch(new URL('livez', apiUrl), { cache: 'no-store' }).then((answer) => {
        if (!answer.ok) return;
        setAway(false);
        void queries.invalidateQueries();
      }, () => undefined);
    }, 2_000);
    return () => clearInterval(timer);
  }, [isAway, queries]);
  return isAway;
}
