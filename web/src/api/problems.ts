// What is broken now, or soon will be, each with where to put it right. Found from what the pages read anyway.
import { queryOptions, useQuery } from '@tanstack/react-query';
import { apiUrl } from './client';
import { lists } from './lists';
import { routing } from './routing';
import { span } from '../parts/format';
import type { Words } from '../i18n/en';

export interface Problem { id: string; isGrave: boolean; title: string; text: string; action: keyof Words; to: string }

const day = 86_400_000;

export const health = queryOptions({
  queryKey: ['health'], refetchInterval: 5_000, retry: false,
  queryFn: async () => (await (await fetch(new URL('readyz', apiUrl))).json()) as { status: string; reason?: string },
});

export function useProblems(words: Words): { problems: Problem[]; isKnown: boolean } {
  const state = useQuery(health);
  const info = useQuery(lists.info);
  const providers = useQuery(lists.providers);
  const kinds = useQuery(lists.kinds);
  const models = useQuery(lists.models);
  const keys = useQuery(lists.keys);
  const series = useQuery(lists.series);
  const budgets = useQuery(lists.budgets);
  const breakers = useQuery(routing.breakers);
  const problems: Problem[] = [];
  for (const b of budgets.data ?? []) {
    const isPassed = (b.left_nanousd ?? 1) <= 0;
    if (b.enabled && (isPassed || b.is_warning))
      problems.push({ id: `budget ${b.name}`, isGrave: isPassed && b.action === 'stop', title: `${b.name}: ${isPassed ? words.budgetPassed : words.budgetWarns}`, text: isPassed && b.action === 'stop' ? words.budgetHint : '', action: 'budgets', to: '/cost/budgets' });
  }
  const status = state.data?.status;
  if (status && status !== 'ok')
    problems.push({ id: 'health', isGrave: true, title: status === 'draining' ? words.draining : words.degraded, text: state.data?.reason ?? '', action: 'settings', to: '/settings' });
  for (const f of info.data?.config_faults ?? []) problems.push({ id: f.since, isGrave: true, title: words.configFault, text: f.message, action: 'history', to: '/settings/history' });
  for (const u of series.data?.upstreams ?? []) {
    if (u.errors >= 2 && u.errors / u.requests >= 0.2)
      problems.push({
        id: `up ${u.id}`, isGrave: u.errors / u.requests >= 0.5, title: `${u.id}: ${words.failing}`, text: `${u.errors} / ${u.requests} ${words.failedLately}`,
        action: 'seeErrors', to: `/requests?provider=${encodeURIComponent(u.id)}&status=error`,
      });
  }
  for (const name of new Set(breakers.data?.filter((b) => b.state !== 'closed').map((b) => b.provider))) {
    const mine = breakers.data?.filter((b) => b.provider === name && b.state !== 'closed') ?? [];
    const isOpen = mine.some((b) => b.state === 'open');
    const wait = Math.max(...mine.map((b) => b.wait_ms));
    const isAll = mine.some((b) => b.model === null);
    problems.push({ id: `breaker ${name}`, isGrave: isAll && isOpen, title: `${name}: ${isOpen ? words.breaker_open : words['breaker_half-open']}`, action: 'breakers', to: '/routing/breakers',
      text: [isAll ? '' : mine.map((b) => b.model).join(', '), mine[0]?.fault, wait > 0 && `${words.leftAlone} ${span(wait * 1000)}`].filter(Boolean).join(' · ') });
  }
  const byName = new Map(providers.data?.map((p) => [p.name, p]));
  const local = new Set(kinds.data?.filter((k) => k.is_local).map((k) => k.id));
  const used = new Set(models.data?.filter((m) => m.enabled).flatMap((m) => m.targets.map((t) => t.provider)));
  for (const p of providers.data ?? [])
    if (kinds.data && p.enabled && p.api_key === '' && p.type !== 'echo' && !local.has(p.type) && !/compatible$/.test(p.type) && used.has(p.name))
      problems.push({ id: `key ${p.name}`, isGrave: true, title: `${p.name}: ${words.missingCredential}`, text: words.missingCredentialHint, action: 'addCredential', to: `/providers/${encodeURIComponent(p.name)}` });
  if (providers.data)
    for (const m of models.data ?? [])
      if (m.enabled && m.targets.length > 0 && m.targets.every((t) => byName.get(t.provider)?.enabled === false))
        problems.push({ id: `model ${m.name}`, isGrave: true, title: `${m.name}: ${words.nobodyServes}`, text: words.nobodyServesHint, action: 'edit', to: `/models/${encodeURIComponent(m.name)}` });
  for (const k of keys.data ?? []) {
    const left = k.expires_at ? new Date(k.expires_at).getTime() - Date.now() : NaN;
    if (k.enabled && left > 0 && left < 3 * day)
      problems.push({ id: `expires ${k.id}`, isGrave: false, title: `${k.label || k.id}: ${words.expiresSoon}`, text: words.expiresSoonHint, action: 'keys', to: `/keys/${encodeURIComponent(k.id)}` });
  }
  return { problems: problems.sort((a, b) => Number(b.isGrave) - Number(a.isGrave)), isKnown: Boolean(status && info.data && models.data) };
}
