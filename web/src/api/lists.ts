// The lists that several pages read, each under one name in the query cache.
import { queryOptions } from '@tanstack/react-query';
import { api, take } from './client';
import type { paths } from './schema';

interface Part<T> { data: T[]; has_more: boolean; next: string | null }

/** All pages of a list of objects. */
export async function whole<T>(page: (after: string | undefined) => Promise<Part<T>>): Promise<T[]> {
  const all: T[] = [];
  let after: string | undefined;
  do {
    const part = await page(after);
    all.push(...part.data);
    after = part.has_more ? (part.next ?? undefined) : undefined;
  } while (after !== undefined);
  return all;
}

const limit = 10_000;
export const query = (after: string | undefined) => ({ params: { query: { limit, ...(after !== undefined && { after }) } } });

export const lists = {
  info: queryOptions({ queryKey: ['info'], queryFn: () => take(api.GET('/sluice/v1/info')), refetchInterval: 15_000 }),
  providers: queryOptions({ queryKey: ['providers'], queryFn: () => whole((after) => take(api.GET('/sluice/v1/providers', query(after)))) }),
  kinds: queryOptions({ queryKey: ['kinds'], staleTime: Infinity, queryFn: async () => (await take(api.GET('/sluice/v1/provider-kinds'))).data }),
  models: queryOptions({ queryKey: ['models'], queryFn: () => whole((after) => take(api.GET('/sluice/v1/models', query(after)))) }),
  keys: queryOptions({ queryKey: ['keys'], queryFn: () => whole((after) => take(api.GET('/sluice/v1/keys', query(after)))) }),
  aliases: queryOptions({ queryKey: ['aliases'], queryFn: () => whole((after) => take(api.GET('/sluice/v1/aliases', query(after)))) }),
  budgets: queryOptions({ queryKey: ['budgets'], refetchInterval: 10_000, queryFn: () => whole((after) => take(api.GET('/sluice/v1/budgets', query(after)))) }),
  orgs: queryOptions({ queryKey: ['orgs'], queryFn: () => whole((after) => take(api.GET('/sluice/v1/orgs', query(after)))) }),
  users: queryOptions({ queryKey: ['users'], queryFn: () => whole((after) => take(api.GET('/sluice/v1/users', query(after)))) }),
  active: queryOptions({ queryKey: ['active'], queryFn: async () => (await take(api.GET('/sluice/v1/requests/active', { params: { query: { sort: '-elapsed_ms' } } }))).data, refetchInterval: 1_000 }),
  series: queryOptions({
    queryKey: ['series'], queryFn: () => take(api.GET('/sluice/v1/metrics/series', { params: { query: { seconds: 300 } } })), refetchInterval: 2_000,
  }),
  versions: queryOptions({ queryKey: ['versions'], queryFn: async () => (await take(api.GET('/sluice/v1/config/versions'))).data }),
  sessions: queryOptions({ queryKey: ['sessions'], queryFn: async () => (await take(api.GET('/sluice/v1/sessions', { params: { query: { sort: '-seen_at' } } }))).data }),
  operators: queryOptions({ queryKey: ['operators'], queryFn: async () => (await take(api.GET('/sluice/v1/operators'))).data }),
  settings: queryOptions({ queryKey: ['settings'], queryFn: async () => (await take(api.GET('/sluice/v1/settings'))).data }),
};

/** What a provider says it has, asked live. */
export const discovered = (provider: string) => queryOptions({
  queryKey: ['discovered', provider], retry: false, staleTime: 60_000,
  queryFn: async () => (await take(api.GET('/admin/api/config/providers/{name}/models', { params: { path: { name: provider } } }))).models ?? [],
});

/** The series of one model, provider or key. */
export const seriesOf = (by: 'model' | 'upstream' | 'key', label: string) => queryOptions({
  queryKey: ['series', by, label], refetchInterval: 2_000, queryFn: () => take(api.GET('/sluice/v1/metrics/series', { params: { query: { seconds: 300, by, label } } })),
});

export type Operator = paths['/sluice/v1/operators']['get']['responses']['200']['content']['application/json']['data'][number];
export type Alias = paths['/sluice/v1/aliases']['get']['responses']['200']['content']['application/json']['data'][number];
export type Budget = paths['/sluice/v1/budgets']['get']['responses']['200']['content']['application/json']['data'][number];

export type Costs = paths['/sluice/v1/costs']['get']['responses']['200']['content']['application/json'];
export type CostQuery = NonNullable<paths['/sluice/v1/costs']['get']['parameters']['query']>;

/** Sums of the ledger. The same path has a table as text; which it is is asked for. */
export const costs = (asked: CostQuery) => take(api.GET('/sluice/v1/costs', { params: { query: asked } })) as Promise<Costs>;

/** What was spent since midnight, in the viewer's zone. */
export const spentToday = queryOptions({
  queryKey: ['costs', 'today'], refetchInterval: 10_000, queryFn: () => costs({ bucket: 'total', from: new Date(new Date().setHours(0, 0, 0, 0)).toISOString() }),
});
