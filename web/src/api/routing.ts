// Where names lead: combos, chains, what cools down, and why a request would go where it goes.
import { queryOptions } from '@tanstack/react-query';
import { api, take } from './client';
import { query, whole } from './lists';
import type { paths } from './schema';

type Listed<P extends keyof paths> = paths[P] extends { get: { responses: { 200: { content: { 'application/json': { data: (infer T)[] } } } } } } ? T : never;

export type Combo = Listed<'/sluice/v1/combos'>;
export type Member = Combo['members'][number];
export type Chain = Listed<'/sluice/v1/chains'>;
export type Link = Chain['chain'][number];
export type Breaker = Listed<'/sluice/v1/breakers'>;
export type Quota = Listed<'/sluice/v1/quotas'>;
export type Trace = paths['/sluice/v1/route/explain']['post']['responses']['200']['content']['application/json'];
export type Candidate = Trace['candidates'][number];

export const strategies = ['priority', 'fill-first', 'weighted', 'round-robin', 'random', 'strict-random', 'least-used', 'p2c', 'latency', 'cost-optimized', 'auto'] as const;
export type Strategy = (typeof strategies)[number];

export const routing = {
  combos: queryOptions({ queryKey: ['combos'], queryFn: () => whole((after) => take(api.GET('/sluice/v1/combos', query(after)))) }),
  chains: queryOptions({ queryKey: ['chains'], queryFn: () => whole((after) => take(api.GET('/sluice/v1/chains', query(after)))) }),
  breakers: queryOptions({ queryKey: ['breakers'], refetchInterval: 2_000, queryFn: () => whole((after) => take(api.GET('/sluice/v1/breakers', query(after)))) }),
  quotas: queryOptions({ queryKey: ['quotas'], refetchInterval: 5_000, queryFn: () => whole((after) => take(api.GET('/sluice/v1/quotas', query(after)))) }),
};

export type Asked = paths['/sluice/v1/route/explain']['post']['requestBody']['content']['application/json'];
export const tasks = ['background', 'coding', 'creative', 'analysis', 'vision', 'summarization', 'chat'] as const;

/** Asked anew now and then: breakers open and close meanwhile. */
export const trace = (asked: Asked) => queryOptions({
  queryKey: ['trace', asked], retry: false, refetchInterval: 5_000, enabled: asked.model !== '',
  queryFn: () => take(api.POST('/sluice/v1/route/explain', { body: asked })),
});

/** Of a provider, or of one of its models: the worst that is known. */
export function stateOf(breakers: readonly Breaker[] | undefined, provider: string, model?: string): Breaker | undefined {
  const rank = { open: 2, 'half-open': 1, closed: 0 } as Record<string, number>;
  return breakers?.filter((b) => b.provider === provider && (b.model === null || model === undefined || b.model === model)).sort((a, b) => (rank[b.state] ?? 0) - (rank[a.state] ?? 0))[0];
}
