// What is broken now, or soon will be, each with where to put it right: the server finds it, the words are the viewer's.
import { queryOptions } from '@tanstack/react-query';
import { money, said, span } from '../parts/format';
import type { Words } from '../i18n/en';
import { api, take } from './client';
import type { paths } from './schema';

type Problem = paths['/sluice/v1/problems']['get']['responses']['200']['content']['application/json']['data'][number];
interface Told { /** whose it is */ of: string; what: string; text: string; action: keyof Words; to: string }

const most = 100;
const few = 3;

/** Errors first. */
export const problems = queryOptions({
  queryKey: ['problems'], refetchInterval: 2_000, queryFn: () => take(api.GET('/sluice/v1/problems', { params: { query: { sort: 'severity', limit: most } } })),
});

/** Those of one object together, the gravest first. */
export function byObject(all: readonly Problem[]): Problem[][] {
  const found = new Map<string, Problem[]>();
  for (const p of all) {
    const of = p.name ? `${p.object} ${p.name}` : p.id;
    const its = found.get(of);
    if (its) its.push(p);
    else found.set(of, [p]);
  }
  return [...found.values()];
}

/** A problem in the viewer's language. */
export function told(p: Problem, words: Words): Told {
  const name = p.label || p.name || '';
  const id = encodeURIComponent(p.name ?? '');
  const wait = p.wait_ms ? `${words.leftAlone} ${span(p.wait_ms * 1000)}` : '';
  const fault = p.fault && said(words, 'fault', p.fault);
  const list = (...parts: (string | undefined)[]) => parts.filter(Boolean).join(' · ');
  const models = p.models ? `${name} · ${p.models.slice(0, few).join(', ')}${p.models.length > few ? ` +${p.models.length - few}` : ''}` : name; // where others of it are well
  const spent = p.limit_nanousd ? `${money(p.spent_nanousd ?? 0)} ${words.ofBudget} ${money(p.limit_nanousd)}` : '';
  switch (p.kind) {
    case 'draining': return { of: '', what: words.draining, text: '', action: 'settings', to: '/settings' };
    case 'store_degraded': return { of: '', what: words.degraded, text: words.degradedHint, action: 'settings', to: '/settings' };
    case 'config_fault': return { of: '', what: words.configFault, text: p.fault ?? '', action: 'history', to: '/settings/history' };
    case 'telemetry_unsent': return { of: '', what: words.telemetryUnsent, text: p.fault ?? '', action: 'settings', to: '/settings' };
    case 'provider_failing': return { of: name, what: words.failing, text: `${p.errors ?? 0} / ${p.requests ?? 0} ${words.failedLately}`, action: 'seeErrors', to: `/requests?provider=${id}&status=error` };
    case 'provider_left_alone': return { of: models, what: words.breaker_open, text: list(fault, wait), action: 'breakers', to: '/routing/breakers' };
    case 'provider_on_probation': return { of: models, what: words['breaker_half-open'], text: fault ?? '', action: 'breakers', to: '/routing/breakers' };
    case 'credential_missing': return { of: name, what: words.missingCredential, text: words.missingCredentialHint, action: 'addCredential', to: `/providers?edit=${id}` };
    case 'quota_spent': return { of: name, what: words.quotaSpent, text: list(p.fault && said(words, 'window', p.fault), p.wait_ms ? `${words.beginsIn} ${span(p.wait_ms * 1000)}` : ''), action: 'quotas', to: '/routing/breakers' };
    case 'model_unserved': return { of: name, what: words.nobodyServes, text: words.nobodyServesHint, action: 'edit', to: p.object === 'combo' ? `/routing?combo=${id}` : p.object === 'alias' ? `/models?provider=::aliases&alias=${id}` : `/models/${id}` };
    case 'key_expires': return { of: name, what: words.expiresSoon, text: words.expiresSoonHint, action: 'keys', to: `/keys/${id}` };
    case 'budget_passed': return { of: name, what: (p.spent_nanousd ?? 0) < (p.limit_nanousd ?? 0) ? words.budgetRefuses : words.budgetPassed, text: list(spent, p.refused ? `${p.refused} ${words.refusedOnes}` : p.severity === 'error' ? words.budgetHint : ''), action: 'budgets', to: `/cost/budgets?budget=${id}` };
    case 'budget_of_nobody': return { of: name, what: words.budgetOfNobody, text: words.budgetOfNobodyHint, action: 'budgets', to: `/cost/budgets?budget=${id}` };
    case 'budget_warning': return { of: name, what: words.budgetWarns, text: spent, action: 'budgets', to: `/cost/budgets?budget=${id}` };
  }
}
