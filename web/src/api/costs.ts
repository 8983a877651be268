// Spans of time to sum costs over, and who is meant by the ids that they are grouped by.
import { queryOptions, useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { type CostQuery, type Costs, costs, lists } from './lists';

export const dims = ['model', 'provider', 'key', 'org', 'user', 'tag'] as const;
export type Dim = (typeof dims)[number];
export type CostRow = Costs['data'][number];
export const spans = ['today', '7d', '30d', 'month', 'last', '90d', 'year'] as const;
export type Span = (typeof spans)[number];
export type Bucket = 'hour' | 'day' | 'month';

export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** From and until, by the viewer's calendar; until is the end of what is drawn. */
export function bounds(span: Span, now: Date): { from: Date; to: Date; bucket: Bucket } {
  const day = new Date(now.getFullYear(), now.getMonth(), now.getDate());
  const back = (n: number) => new Date(day.getFullYear(), day.getMonth(), day.getDate() - n);
  const tomorrow = back(-1);
  switch (span) {
    case 'today': return { from: day, to: tomorrow, bucket: 'hour' };
    case '7d': return { from: back(6), to: tomorrow, bucket: 'day' };
    case '30d': return { from: back(29), to: tomorrow, bucket: 'day' };
    case '90d': return { from: back(89), to: tomorrow, bucket: 'day' };
    case 'year': return { from: new Date(day.getFullYear(), day.getMonth() - 11, 1), to: new Date(day.getFullYear(), day.getMonth() + 1, 1), bucket: 'month' };
    case 'last': return { from: new Date(day.getFullYear(), day.getMonth() - 1, 1), to: new Date(day.getFullYear(), day.getMonth(), 1), bucket: 'day' };
    case 'month': return { from: new Date(day.getFullYear(), day.getMonth(), 1), to: new Date(day.getFullYear(), day.getMonth() + 1, 1), bucket: 'day' };
  }
}

/** The beginnings of all buckets between them, also of those in which nothing was spent. */
export function beginnings(from: Date, to: Date, bucket: Bucket): number[] {
  const all: number[] = [];
  for (let t = from; t < to && all.length < 1000;) {
    all.push(t.getTime());
    t = bucket === 'hour' ? new Date(t.getTime() + 3_600_000) : bucket === 'day' ? new Date(t.getFullYear(), t.getMonth(), t.getDate() + 1) : new Date(t.getFullYear(), t.getMonth() + 1, 1);
  }
  return all;
}

export const summed = (asked: CostQuery) => queryOptions({ queryKey: ['costs', asked], queryFn: () => costs(asked), refetchInterval: 15_000, placeholderData: (old) => old });

/** An id as people call it. */
export function useNames(): (dim: Dim, id: string) => string {
  const keys = useQuery(lists.keys);
  const orgs = useQuery(lists.orgs);
  const users = useQuery(lists.users);
  return useMemo(() => {
    const names = { key: new Map(keys.data?.map((k) => [k.id, k.label])), org: new Map(orgs.data?.map((o) => [o.id, o.name])), user: new Map(users.data?.map((u) => [u.id, u.name])) };
    return (dim, id) => (dim === 'key' || dim === 'org' || dim === 'user' ? names[dim].get(id) || id : id);
  }, [keys.data, orgs.data, users.data]);
}
