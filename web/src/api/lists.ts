// The lists that several pages read, each under one name in the query cache.
import { queryOptions } from '@tanstack/react-query';
import { api, take } from './client';

export const lists = {
  info: queryOptions({ queryKey: ['info'], queryFn: () => take(api.GET('/sluice/v1/info')), refetchInterval: 15_000 }),
  providers: queryOptions({ queryKey: ['providers'], queryFn: async () => (await take(api.GET('/sluice/v1/providers'))).data }),
  kinds: queryOptions({ queryKey: ['kinds'], staleTime: Infinity, queryFn: async () => (await take(api.GET('/sluice/v1/provider-kinds'))).data }),
  models: queryOptions({ queryKey: ['models'], queryFn: async () => (await take(api.GET('/sluice/v1/models'))).data }),
  keys: queryOptions({ queryKey: ['keys'], queryFn: async () => (await take(api.GET('/sluice/v1/keys'))).data }),
  active: queryOptions({ queryKey: ['active'], queryFn: async () => (await take(api.GET('/sluice/v1/requests/active'))).data, refetchInterval: 1_000 }),
  series: queryOptions({
    queryKey: ['series'], queryFn: () => take(api.GET('/sluice/v1/metrics/series', { params: { query: { seconds: 300 } } })), refetchInterval: 2_000,
  }),
  versions: queryOptions({ queryKey: ['versions'], queryFn: async () => (await take(api.GET('/sluice/v1/config/versions'))).data }),
  sessions: queryOptions({ queryKey: ['sessions'], queryFn: async () => (await take(api.GET('/sluice/v1/sessions'))).data }),
  operators: queryOptions({ queryKey: ['operators'], queryFn: async () => (await take(api.GET('/sluice/v1/operators'))).data }),
  audit: queryOptions({ queryKey: ['audit'], queryFn: async () => (await take(api.GET('/sluice/v1/audit', { params: { query: { limit: 100 } } }))).data }),
  settings: queryOptions({ queryKey: ['settings'], queryFn: async () => (await take(api.GET('/sluice/v1/settings'))).data }),
};
