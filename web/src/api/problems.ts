// What is broken now, or soon will be, each with where to put it right: the server finds it, the words are the viewer's.
import { queryOptions } from '@tanstack/react-query';
import { said, span } from '../parts/format';
import type { Words } from '../i18n/en';
import { api, take } from './client';
import type { paths } from './schema';

type Problem = paths['/sluice/v1/problems']['get']['responses']['200']['content']['application/json']['data'][number];
interface Told { title: string; text: string; action: keyof Words; to: string }

const most = 100;

/** Errors first. */
export const problems = queryOptions({
  queryKey: ['problems'], refetchInterval: 2_000, queryFn: () => take(api.GET('/sluice/v1/problems', { params: { query: { sort: 'severity', limit: most } } })),
});

/** A problem in the viewer's language. */
export function told(p: Problem, words: Words): Told {
  const name = p.label || p.name || '';
  const id = encodeURIComponent(p.name ?? '');
  const wait = p.wait_ms ? `${words.leftAlone} ${span(p.wait_ms * 1000)}` : '';
  const fault = p.fault && said(words, 'fault', p.fault);
  const list = (...parts: (string | undefined)[]) => parts.filter(Boolean).join(' · ');
  switch (p.kind) {
    case 'draining': return { title: words.draining, text: '', action: 'settings', to: '/settings' };
    case 'store_degraded': return { title: words.degraded, text: words.degradedHint, action: 'settings', to: '/settings' };
    case 'config_fault': return { title: words.configFault, text: p.fault ?? '', action: 'history', to: '/settings/history' };
    case 'telemetry_unsent': return { title: words.telemetryUnsent, text: p.fault ?? '', action: 'settings', to: '/settings' };
    case 'provider_failing': return { title: `${name}: ${words.failing}`, text: `${p.errors ?? 0} / ${p.requests ?? 0} ${words.failedLately}`, action: 'seeErrors', to: `/requests?provider=${id}&status=error` };
    case 'provider_left_alone': return { title: `${name}: ${words.breaker_open}`, text: list(p.models?.join(', '), fault, wait), action: 'breakers', to: '/routing/breakers' };
    case 'provider_on_probation': return { title: `${name}: ${words['breaker_half-open']}`, text: list(p.models?.join(', '), fault), action: 'breakers', to: '/routing/breakers' };
    case 'credential_missing': return { title: `${name}: ${words.missingCredential}`, text: words.missingCredentialHint, action: 'addCredential', to: `/providers?edit=${id}` };
    case 'quota_spent': return { title: `${name}: ${words.quotaSpent}`, text: list(p.fault && said(words, 'window', p.fault), p.wait_ms ? `${words.beginsIn} ${span(p.wait_ms * 1000)}` : ''), action: 'quotas', to: '/routing/breakers' };
    case 'model_unserved': return { title: `${name}: ${words.nobodyServes}`, text: words.nobodyServesHint, action: 'edit', to: p.object === 'combo' ? `/routing?combo=${id}` : p.object === 'alias' ? `/models?provider=::aliases&alias=${id}` : `/models/${id}` };
    case 'key_expires': return { title: `${name}: ${words.expiresSoon}`, text: words.expiresSoonHint, action: 'keys', to: `/keys/${id}` };
    case 'budget_passed': return { title: `${name}: ${words.budgetPassed}`, text: p.severity === 'error' ? words.budgetHint : '', action: 'budgets', to: `/cost/budgets?budget=${id}` };
    case 'budget_of_nobody': return { title: `${name}: ${words.budgetOfNobody}`, text: words.budgetOfNobodyHint, action: 'budgets', to: `/cost/budgets?budget=${id}` };
    case 'budget_warning': return { title: `${name}: ${words.budgetWarns}`, text: '', action: 'budgets', to: `/cost/budgets?budget=${id}` };
  }
}
