import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';
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

/** Newest first, page by page; the first page comes again by itself while isLive. */
export const found = (filter: Filter, isLive: boolean) => infiniteQueryOptions({
  queryKey: ['requests', filter], initialPageParam: undefined as number | undefined,
  queryFn: ({ pageParam }) => take(api.GET('/sluice/v1/requests', { params: { query: { ...filter, limit: 100, ...(pageParam !== undefined && { before: pageParam }) } } })),
  getNextPageParam: (page: Page) => page.next ?? undefined,
  refetchInterval: (query) => (isLive && (query.state.data?.pages.length ?? 0) <= 1 ? 2_000 : false),
});

export const one = (id: string) => queryOptions({
  queryKey: ['request', id], queryFn: () => take(api.GET('/sluice/v1/requests/{id}', { params: { path: { id } } })),
});
