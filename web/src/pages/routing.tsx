// Where names lead besides to one model: combos and chains put in order, what is refused or led elsewhere, why a request would go where it goes, and who is left alone.
import { Badge, Button, Paper, Stack, Tabs, Text } from '@mantine/core';
import { IconArrowsSplit2, IconLink, IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useLocation, useParams, useSearchParams } from 'wouter';
import { type Chain, type Combo, routing, stateOf, type Strategy } from '../api/routing';
import { lists } from '../api/lists';
import { useWords } from '../i18n';
import { Guard } from '../parts/guard';
import { Empty, Loaded, Origin, Page } from '../parts/pieces';
import { TabList } from '../parts/tab-list';
import { Breakers } from './routing-breakers';
import { ChainDrawer, ComboDrawer } from './routing-edit';
import { Policies, PolicyDrawer } from './routing-policies';
import { Decision } from './routing-trace';

export default function Routing() {
  const words = useWords();
  const tab = useParams().rest ?? 'combos';
  const [, go] = useLocation();
  const [search, setSearch] = useSearchParams();
  const breakers = useQuery(routing.breakers);
  const open = breakers.data?.filter((b) => b.state !== 'closed').length ?? 0;
  const close = () => setSearch(new URLSearchParams());
  const standing = useStanding();
  const add = (what: 'combo' | 'chain' | 'policy') => setSearch(new URLSearchParams({ new: what }));
  const calls = {
    combos: [{ method: 'GET', path: '/sluice/v1/combos' }, { method: 'POST', path: '/sluice/v1/combos', body: { name: 'smart', strategy: 'weighted', members: [{ model: 'gpt-5', weight: 3 }, { model: 'qwen3-coder', weight: 1 }] } },
      { method: 'PATCH', path: '/sluice/v1/combos/smart', body: { strategy: 'priority' } }],
    chains: [{ method: 'GET', path: '/sluice/v1/chains' }, { method: 'PUT', path: '/sluice/v1/chains/gpt-5', body: { chain: [{ provider: 'openai' }, { provider: 'work' }] } }],
    policies: [{ method: 'GET', path: '/sluice/v1/policies' }, { method: 'PUT', path: '/sluice/v1/policies/no%20embeddings', body: { model: 'text-embedding-*', action: 'deny' } },
      { method: 'PUT', path: '/sluice/v1/policies/titles', body: { model: 'gpt-5', task: 'background', action: 'route', target: 'gpt-5-mini' } }, { method: 'DELETE', path: '/sluice/v1/policies/titles' }],
    trace: [{ method: 'POST', path: '/sluice/v1/route/explain', body: { model: search.get('model') ?? 'smart', down: (search.get('down') ?? '').split(',').filter(Boolean), exclude: (search.get('exclude') ?? '').split(',').filter(Boolean) } }],
    breakers: [{ method: 'GET', path: '/sluice/v1/breakers' }, { method: 'POST', path: '/sluice/v1/breakers/reset', body: { provider: 'work' } }, { method: 'GET', path: '/sluice/v1/quotas' }],
  };
  return (
    <Page title={words.routing} calls={calls[tab as keyof typeof calls] ?? calls.combos}
      actions={tab === 'combos' ? <Guard><Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => add('combo')}>{words.addCombo}</Button></Guard>
        : tab === 'chains' ? <Guard><Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => add('chain')}>{words.addChain}</Button></Guard>
        : tab === 'policies' ? <Guard><Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => add('policy')}>{words.addPolicy}</Button></Guard> : undefined}>
      <Tabs value={tab} onChange={(t) => go(t && t !== 'combos' ? `/routing/${t}` : '/routing')} keepMounted={false}>
        <TabList mb="md" at={tab}>
          <Tabs.Tab value="combos">{words.combos}</Tabs.Tab><Tabs.Tab value="chains">{words.chains}</Tabs.Tab><Tabs.Tab value="policies">{words.policies}</Tabs.Tab><Tabs.Tab value="trace">{words.decision}</Tabs.Tab>
          <Tabs.Tab value="breakers" rightSection={open > 0 ? <Badge size="xs" variant="light" color="red">{open}</Badge> : undefined}>{words.breakers}</Tabs.Tab>
        </TabList>
        <Tabs.Panel value="combos"><Combos onAdd={() => add('combo')} onOpen={(c) => setSearch(new URLSearchParams({ combo: c.name }))} /></Tabs.Panel>
        <Tabs.Panel value="chains"><Chains onAdd={() => add('chain')} onOpen={(c) => setSearch(new URLSearchParams({ chain: c.model }))} /></Tabs.Panel>
        <Tabs.Panel value="policies"><Policies standing={standing} onAdd={() => add('policy')} onOpen={(p) => setSearch(new URLSearchParams({ policy: p.name }))} /></Tabs.Panel>
        <Tabs.Panel value="trace"><Decision /></Tabs.Panel>
        <Tabs.Panel value="breakers"><Breakers /></Tabs.Panel>
      </Tabs>
      <ComboDrawer name={search.get('combo')} isNew={search.get('new') === 'combo'} onClose={close} />
      <ChainDrawer model={search.get('chain')} isNew={search.get('new') === 'chain'} onClose={close} />
      <PolicyDrawer name={search.get('policy')} isNew={search.get('new') === 'policy'} standing={standing} onClose={close} />
    </Page>
  );
}

/** Who is behind a name, and whether it can be asked. */
export function useStanding(): (model: string, provider?: string) => 'fine' | 'warn' | 'bad' | undefined {
  const breakers = useQuery(routing.breakers);
  const models = useQuery(lists.models);
  const combos = useQuery(routing.combos);
  const byName = new Map(models.data?.map((m) => [m.name, m]));
  const names = new Set(combos.data?.map((c) => c.name));
  return (model, provider) => {
    if (names.has(model)) return undefined;
    const m = byName.get(model);
    const targets = m ? m.targets.map((t) => [t.provider, t.upstream_model || m.name] as const) : model.includes('/') ? [[model.slice(0, model.indexOf('/')), model.slice(model.indexOf('/') + 1)] as const] : [];
    const mine = targets.filter(([p]) => !provider || p === provider);
    if (mine.length === 0 || (m && !m.enabled)) return 'bad';
    const states = mine.map(([p, u]) => stateOf(breakers.data, p, u)?.state ?? 'closed');
    return states.every((s) => s === 'closed') ? 'fine' : states.every((s) => s === 'open') ? 'bad' : 'warn';
  };
}

function Combos({ onAdd, onOpen }: { onAdd: () => void; onOpen: (c: Combo) => void }) {
  const words = useWords();
  const standing = useStanding();
  return (
    <Loaded query={useQuery(routing.combos)}>
      {(all) => all.length === 0 ? <Paper withBorder><Empty icon={<IconArrowsSplit2 size={36} />} title={words.noCombos} hint={words.noCombosHint} action={<Guard><Button size="xs" leftSection={<IconPlus size={14} />} onClick={onAdd}>{words.addCombo}</Button></Guard>} /></Paper> : (
        <Paper withBorder component="ul" className="rows" aria-label={words.combos}>
          {all.map((c) => (
            <li key={c.name}>
              <button type="button" className="row-button" onClick={() => onOpen(c)} aria-label={c.name}>
                <span className="row-name"><b className="mono">{c.name}</b>{!c.enabled && <span className="tag">{words.disabled}</span>}<Origin from={c.origin} />
                  <Text size="xs" c="dimmed" title={words[`say_${c.strategy as Strategy}`]}>{c.strategy}{c.sticky !== 'none' && ` · ${words[`sticky_${c.sticky as 'prefix'}`]}`}</Text></span>
                <span className="flow">
                  {c.members.map((m, i) => (
                    <span key={i} className="hop" data-off={!m.enabled || undefined} style={c.strategy === 'weighted' && m.enabled ? { flexGrow: m.weight } : undefined}>
                      <span className="dot" data-is={standing(m.model, m.provider)} aria-hidden /><span className="ell">{m.model}</span>
                      {c.strategy === 'weighted' && m.enabled && <span className="hop-share num">{Math.round((100 * m.weight) / Math.max(1, c.members.reduce((sum, x) => sum + (x.enabled ? x.weight : 0), 0)))} %</span>}
                    </span>
                  ))}
                </span>
              </button>
            </li>
          ))}
        </Paper>
      )}
    </Loaded>
  );
}

function Chains({ onAdd, onOpen }: { onAdd: () => void; onOpen: (c: Chain) => void }) {
  const words = useWords();
  const breakers = useQuery(routing.breakers);
  return (
    <Stack gap="sm">
      <Text size="sm" c="dimmed">{words.chainsHint}</Text>
      <Loaded query={useQuery(routing.chains)}>
        {(all) => all.length === 0 ? <Paper withBorder><Empty icon={<IconLink size={36} />} title={words.noChains} hint={words.noChainsHint} action={<Guard><Button size="xs" leftSection={<IconPlus size={14} />} onClick={onAdd}>{words.addChain}</Button></Guard>} /></Paper> : (
          <Paper withBorder component="ul" className="rows" aria-label={words.chains}>
            {all.map((c) => (
              <li key={c.model}>
                <button type="button" className="row-button" onClick={() => onOpen(c)} aria-label={c.model}>
                  <span className="row-name"><b className="mono">{c.model}</b> <Origin from={c.origin} /></span>
                  <span className="flow">{c.chain.map((l, i) => <span key={i} className="hop" data-off={!l.enabled || undefined}><span className="dot" data-is={stateOf(breakers.data, l.provider)?.state === 'open' ? 'bad' : 'fine'} aria-hidden /><span className="ell">{l.provider}</span></span>)}</span>
                </button>
              </li>
            ))}
          </Paper>
        )}
      </Loaded>
    </Stack>
  );
}
