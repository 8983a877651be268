import { queryOptions } from '@tanstack/react-query';
import { api, take } from './client';
import type { paths } from './schema';

type Page = paths['/sluice/v1/requests']['get']['responses']['200']['content']['application/json'];
export type LoggedRequest = Page['data'][number];
export type RequestDetail = paths['/sluice/v1/requests/{id}']['get']['responses']['200']['content']['application/json'];
export type Filter = NonNullable<paths['/sluice/v1/requests']['get']['parameters']['query']>;

export const latest = (limit: number) => queryOptions({
  queryKey: ['requests', 'latest', limit], refetchInterval: 2_000,
  queryFn: async () => (await take(api.GET('/sluice/v1/requests', { params: { query: { limit } } }))).data,
});

export const latestFailures = queryOptions({
  queryKey: ['requests', 'failed'], refetchInterval: 2_000,
  queryFn: async () => (await take(api.GET('/sluice/v1/requests', { params: { query: { status: 'error', limit: 8 } } }))).data,
});

export const one = (id: string) => queryOptions({
  queryKey: ['request', id], queryFn: () => take(api.GET('/sluice/v1/requests/{id}', { params: { path: { id } } })),
});

export const bodyOf = (id: string, which: string) => queryOptions({
  queryKey: ['body', id, which], staleTime: Infinity, retry: false,
  queryFn: () => take(api.GET('/sluice/v1/requests/{id}/bodies/{which}', { params: { path: { id, which } } })),
});

export type Way = paths['/sluice/v1/requests/{id}/translation']['get']['responses']['200']['content']['application/json'];
export type Fate = Way['values'][number]['fate'];

/** What became of each value of a body on its way to the upstream, or of the answer on its way back. */
export const wayOf = (id: string, of: 'request' | 'response') => queryOptions({
  queryKey: ['way', id, of], staleTime: Infinity, retry: false,
  queryFn: () => take(api.GET('/sluice/v1/requests/{id}/translation', { params: { path: { id }, query: { of } } })),
});
