// The lists that several pages read, each under one name in the query cache.
import { queryOptions } from '@tanstack/react-query';
import { api, take } from './client';

export const lists = {
  info: queryOptions({ queryKey: ['info'], queryFn: () => take(api.GET('/sluice/v1/info')), refetchInterval: 15_000 }),
  providers: queryOptions({ queryKey: ['providers'], queryFn: async () => (await take(api.GET('/sluice/v1/providers'))).data }),
  kinds: queryOptions({ queryKey: ['kinds'], staleTime: Infinity, queryFn: async () => (await take(api.GET('/sluice/v1/provider-kinds'))).data }),
  models: queryOptions({ queryKey: ['models'], queryFn: async () => (await take(api.GET('/sluice/v1/models'))).data }),
  keys: queryOptions({ queryKey: ['keys'], queryFn: async () => (await take(api.GET('/sluice/v1/keys'))).data }),
  settings: queryOptions({ queryKey: ['settings'], queryFn: async () => (await take(api.GET('/sluice/v1/settings'))).data }),
};
