// What stands around the serving of models: what is refused or led elsewhere, who holds keys, how it goes out, who may come in.
import { queryOptions } from '@tanstack/react-query';
import { api, take } from './client';
import { query, whole } from './lists';
import type { paths } from './schema';

type Answer<P extends keyof paths> = paths[P] extends { get: { responses: { 200: { content: { 'application/json': infer T } } } } } ? T : never;
type Listed<P extends keyof paths> = Answer<P> extends { data: (infer T)[] } ? T : never;

export type Policy = Listed<'/sluice/v1/policies'>;
export type Org = Listed<'/sluice/v1/orgs'>;
export type User = Listed<'/sluice/v1/users'>;
export type Proxy = Listed<'/sluice/v1/proxies'>;
export type Ban = Listed<'/sluice/v1/ip-filter/bans'>;
export type Filter = Answer<'/sluice/v1/ip-filter'>;
export type Layer = Answer<'/sluice/v1/cache'>['layers'][number];
export type Limit = Listed<'/sluice/v1/limits'>;
export type Check = Answer<'/sluice/v1/ledger/verify'>;

export const tasks = ['any', 'background', 'coding', 'creative', 'analysis', 'vision', 'summarization', 'chat'] as const;
export type Task = (typeof tasks)[number];

export const objects = {
  policies: queryOptions({ queryKey: ['policies'], queryFn: () => whole((after) => take(api.GET('/sluice/v1/policies', query(after)))) }),
  proxies: queryOptions({ queryKey: ['proxies'], queryFn: () => whole((after) => take(api.GET('/sluice/v1/proxies', query(after)))) }),
  filter: queryOptions({ queryKey: ['ip-filter'], queryFn: () => take(api.GET('/sluice/v1/ip-filter')) }),
  bans: queryOptions({ queryKey: ['bans'], refetchInterval: 10_000, queryFn: () => whole((after) => take(api.GET('/sluice/v1/ip-filter/bans', query(after)))) }),
  cache: queryOptions({ queryKey: ['cache'], refetchInterval: 2_000, queryFn: () => take(api.GET('/sluice/v1/cache')) }),
  limits: queryOptions({ queryKey: ['limits'], refetchInterval: 2_000, queryFn: () => whole((after) => take(api.GET('/sluice/v1/limits', query(after)))) }),
};
