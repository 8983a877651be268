// What was spent and by whom, budgets, prices, whether vendors' books say the same, and whether our own hold.
import { Tabs } from '@mantine/core';
import { useState } from 'react';
import { useLocation, useParams } from 'wouter';
import type { Call } from '../api/calls';
import { useWords } from '../i18n';
import { Page } from '../parts/pieces';
import { TabList } from '../parts/tab-list';
import { Budgets } from './cost-budgets';
import { Ledger } from './cost-ledger';
import { Prices } from './cost-prices';
import { Reconciliation } from './cost-reconcile';
import { Spending } from './cost-spending';

export default function Cost() {
  const words = useWords();
  const tab = useParams().rest ?? 'spending';
  const [, go] = useLocation();
  const [asked, setAsked] = useState('/sluice/v1/costs'); // by the panel that is open
  const calls: Record<string, Call[]> = {
    spending: [{ method: 'GET', path: asked }, { method: 'GET', path: `${asked}${asked.includes('?') ? '&' : '?'}format=csv` }, { method: 'GET', path: '/sluice/v1/ledger?limit=100' }],
    budgets: [{ method: 'GET', path: '/sluice/v1/budgets' }, { method: 'POST', path: '/sluice/v1/budgets', body: { name: 'acme a month', scope: 'org', subject: 'acme', period: 'month', limit_usd: 250 } }],
    prices: [{ method: 'GET', path: '/sluice/v1/prices?source=override' }, { method: 'POST', path: '/sluice/v1/prices', body: { provider: 'openai', model: 'gpt-x', price: { input: 2, output: 8 } } }, { method: 'POST', path: '/sluice/v1/prices/import?dry_run=true', body: { prices: {} } }],
    reconciliation: [{ method: 'GET', path: '/sluice/v1/reconciliation?provider=NAME' }, { method: 'POST', path: '/sluice/v1/reconciliation/import?provider=NAME', body: { data: ['…'] } }],
    ledger: [{ method: 'GET', path: '/sluice/v1/ledger/verify' }, { method: 'POST', path: '/sluice/v1/ledger/reprice', body: { from: '2026-01-01T00:00:00Z', to: '2026-02-01T00:00:00Z', dry_run: true } }, { method: 'GET', path: '/sluice/v1/ledger?limit=100' }],
  };
  return (
    <Page title={words.costs} calls={calls[tab] ?? calls.spending}>
      <Tabs value={tab} onChange={(t) => go(t && t !== 'spending' ? `/cost/${t}` : '/cost')} keepMounted={false}>
        <TabList mb="md" at={tab}><Tabs.Tab value="spending">{words.spending}</Tabs.Tab><Tabs.Tab value="budgets">{words.budgets}</Tabs.Tab><Tabs.Tab value="prices">{words.prices}</Tabs.Tab><Tabs.Tab value="reconciliation">{words.reconciliation}</Tabs.Tab><Tabs.Tab value="ledger">{words.ledger}</Tabs.Tab></TabList>
        <Tabs.Panel value="spending"><Spending onAsk={setAsked} /></Tabs.Panel>
        <Tabs.Panel value="budgets"><Budgets /></Tabs.Panel>
        <Tabs.Panel value="prices"><Prices /></Tabs.Panel>
        <Tabs.Panel value="reconciliation"><Reconciliation /></Tabs.Panel>
        <Tabs.Panel value="ledger"><Ledger /></Tabs.Panel>
      </Tabs>
    </Page>
  );
}
