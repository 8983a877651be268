// One combo or chain being edited: its members in order, their weights, and how it chooses among them.
import { ActionIcon, Autocomplete, Button, Collapse, Group, NumberInput, Select, SimpleGrid, Stack, Switch, Text, Textarea, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconAdjustments, IconPlus, IconRoute, IconX } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useRef, useState } from 'react';
import { Link as To } from 'wouter';
import { api, take } from '../api/client';
import { lists } from '../api/lists';
import { type Chain, type Combo, type Link, type Member, routing, strategies, type Strategy } from '../api/routing';
import { useWords } from '../i18n';
import { Advanced } from '../parts/advanced';
import { Confirm } from '../parts/dialogs';
import { Edited } from '../parts/edited';
import { Guard } from '../parts/guard';
import { Failure, Loaded, Origin } from '../parts/pieces';
import { Side } from '../parts/side';
import { moved, Sortable } from '../parts/sortable';

const width = 'min(680px, 100%)';
const knobs = ['max_retries', 'retry_delay_ms', 'timeout_ms', 'concurrency', 'queue_timeout_ms', 'patience_ms', 'sticky_limit', 'hedge_after_ms', 'hedge_percentile'] as const;
const factors = ['quota', 'health', 'cost', 'latency', 'fit', 'stability', 'priority', 'explore'] as const;
/** The setting that holds where a combo says nothing. */
const behind: Record<(typeof knobs)[number], string> = {
  max_retries: 'combo_max_retries', retry_delay_ms: 'combo_retry_delay_ms', timeout_ms: 'combo_timeout_ms', concurrency: 'combo_concurrency', queue_timeout_ms: 'combo_queue_timeout_ms',
  patience_ms: 'combo_patience_ms', sticky_limit: 'round_robin_limit', hedge_after_ms: 'combo_hedge_after_ms', hedge_percentile: 'combo_hedge_percentile',
};
/** An empty field goes back to the setting: null takes what was said out. */
const numberOf = (v: number | string | undefined) => (typeof v === 'number' ? v : null);
const needsNumber = (s: string) => s === 'priority' || s === 'fill-first';

export function ComboDrawer({ name, isNew, onClose }: { name: string | null; isNew: boolean; onClose: () => void }) {
  const words = useWords();
  const combos = useQuery(routing.combos);
  const combo = combos.data?.find((c) => c.name === name) ?? null;
  return (
    <Side size={width} opened={isNew || name !== null} onClose={onClose} title={isNew ? words.addCombo : name}>
      {isNew ? <ComboForm key="new" old={null} onClose={onClose} />
        : <Loaded query={combos}>{() => combo ? <Edited key={combo.name} path={`/sluice/v1/combos/${encodeURIComponent(combo.name)}`} seen={combo}><ComboForm old={combo} onClose={onClose} /></Edited> : <Text size="sm" c="dimmed">{words.noMatch}</Text>}</Loaded>}
    </Side>
  );
}

interface Draft extends Member { id: number }

function ComboForm({ old, onClose }: { old: Combo | null; onClose: () => void }) {
  const words = useWords();
  const models = useQuery(lists.models);
  const combos = useQuery(routing.combos);
  const settings = useQuery(lists.settings);
  const next = useRef(0);
  const draft = (m: Member): Draft => ({ ...m, id: next.current++ });
  const [name, setName] = useState(old?.name ?? '');
  const [strategy, setStrategy] = useState<string>(old?.strategy ?? 'priority');
  const [sticky, setSticky] = useState(old?.sticky ?? 'none');
  const [enabled, setEnabled] = useState(old?.enabled ?? true);
  const [members, setMembers] = useState<Draft[]>(() => (old?.members ?? []).map(draft));
  const [more, setMore] = useState<Record<string, number | string>>(() => Object.fromEntries(knobs.map((k) => [k, old && old[k] >= 0 ? old[k] : ''])));
  const [auto, setAuto] = useState<Record<string, number | string>>(() => Object.fromEntries(factors.map((f) => [f, old?.auto[f] ?? ''])));
  const [hasMore, setHasMore] = useState(false);
  const [system, setSystem] = useState(old?.system_message ?? '');
  const [filter, setFilter] = useState(old?.tool_filter ?? '');
  const [adding, setAdding] = useState('');
  const [isDoomed, setDoomed] = useState(false);
  const isFixed = old?.origin === 'environment';
  const put = (id: number, change: Partial<Member>) => setMembers((all) => all.map((m) => (m.id === id ? { ...m, ...change } : m)));
  const move = (from: number, to: number) => setMembers((all) => {
    const list = moved(all, from, to);
    return needsNumber(strategy) && list.some((m) => m.priority !== list[0]?.priority) ? list.map((m, i) => ({ ...m, priority: i })) : list; // what is seen is what holds
  });
  const sum = members.reduce((n, m) => n + (m.enabled ? m.weight : 0), 0);
  const known = [...new Set([...(combos.data ?? []).map((c) => c.name).filter((n) => n !== old?.name), ...(models.data ?? []).map((m) => m.name)])];
  const names = new Set(combos.data?.map((c) => c.name));
  const providersOf = (model: string) => [...new Set(models.data?.find((m) => m.name === model)?.targets.map((t) => t.provider))];
  const save = useMutation({
    mutationFn: async () => {
      const body = {
        strategy, sticky, enabled,
        members: members.map((m) => ({ // what is as usual is not written
          model: m.model, ...(m.provider && { provider: m.provider }), ...(m.weight !== 1 && { weight: m.weight }), ...(m.priority !== 0 && { priority: m.priority }),
          ...(m.price_nanousd >= 0 && { price_nanousd: m.price_nanousd }), ...(!m.enabled && { enabled: false }),
        })),
        ...(Object.fromEntries(knobs.filter((k) => numberOf(more[k]) !== (old?.[k] ?? null)).map((k) => [k, numberOf(more[k])])) as Record<(typeof knobs)[number], number>),
        ...(system !== (old?.system_message ?? '') && { system_message: system }), ...(filter !== (old?.tool_filter ?? '') && { tool_filter: filter }),
        ...(strategy === 'auto' && { auto: Object.fromEntries(factors.filter((f) => typeof auto[f] === 'number').map((f) => [f, Number(auto[f])])) }),
      };
      if (old) await take(api.PATCH('/sluice/v1/combos/{name}', { params: { path: { name: old.name } }, body: { ...body, ...(name !== old.name && { name }) } }));
      else await take(api.POST('/sluice/v1/combos', { body: { name, ...body } }));
    },
    onSuccess: () => { notifications.show({ message: `${words.saved}: ${name}`, color: 'teal' }); onClose(); },
  });
  const remove = useMutation({
    mutationFn: () => take(api.DELETE('/sluice/v1/combos/{name}', { params: { path: { name: old?.name ?? '' }, query: { cascade: true } } })), onSuccess: () => { setDoomed(false); onClose(); },
  });
  const users = (combos.data ?? []).filter((c) => c.members.some((m) => m.model === old?.name)).map((c) => c.name);
  const add = (model: string) => {
    if (!model.trim()) return;
    setMembers((all) => [...all, draft({ model: model.trim(), weight: 1, priority: all.length > 0 && all.some((m) => m.priority !== 0) ? all.length : 0, price_nanousd: -1, enabled: true })]);
    setAdding('');
  };
  return (
    <Guard isForm><form onSubmit={(e) => { e.preventDefault(); save.mutate(); }}>
      <Stack gap="md">
        <Group align="flex-end" gap="sm">
          <TextInput label={words.modelName} value={name} onChange={(e) => setName(e.currentTarget.value)} required classNames={{ input: 'mono' }} flex="1 1 220px" description={old ? words.renameHint : undefined} data-autofocus={!old || undefined} />
          <Switch label={words.enabled} checked={enabled} onChange={(e) => setEnabled(e.currentTarget.checked)} mb={8} />
          {old && <Button size="xs" mb={3} variant="default" leftSection={<IconRoute size={14} />} component={To} href={`/routing/trace?model=${encodeURIComponent(old.name)}`}>{words.whereTo}</Button>}
        </Group>
        {old && old.origin !== 'api' && <Text size="xs" c="dimmed">{words.stands}: <Origin from={old.origin} /></Text>}
        <Select label={words.strategy} value={strategy} onChange={(s) => s && setStrategy(s)} data={[...strategies]} allowDeselect={false} description={words[`say_${strategy as Strategy}`]} />
        <Stack gap={6}>
          <Text size="sm" fw={500}>{words.members} <Text span size="xs" c="dimmed">{needsNumber(strategy) ? words.orderCounts : strategy === 'weighted' ? words.weightCounts : words.orderLast}</Text></Text>
          {strategy === 'weighted' && sum > 0 && (
            <div className="shares" role="img" aria-label={members.filter((m) => m.enabled).map((m) => `${m.model} ${Math.round((100 * m.weight) / sum)} %`).join(', ')}>
              {members.filter((m) => m.enabled && m.weight > 0).map((m, i) => <span key={m.id} style={{ flexGrow: m.weight, background: `var(--series-${(i % 8) + 1})` }} title={m.model} />)}
            </div>
          )}
          <Sortable label={words.members} items={members} keyOf={(m) => m.id} nameOf={(m) => m.model} onMove={move} isFixed={isFixed}>
            {(m) => (
              <>
                <div className="sort-main">
                  <span className="mono ell" title={m.model}>{m.model}</span>{names.has(m.model) && <span className="tag">{words.combo}</span>}
                  {names.has(m.model) && <Text size="xs" c="dimmed" className="ell">{combos.data?.find((c) => c.name === m.model)?.members.map((x) => x.model).join(', ')}</Text>}
                  {providersOf(m.model).length > 1 && (
                    <Select size="xs" variant="unstyled" aria-label={`${words.provider} ${m.model}`} placeholder={words.anyProvider} data={providersOf(m.model)} value={m.provider || null} onChange={(p) => put(m.id, { provider: p ?? '' })} clearable h={24} />
                  )}
                </div>
                {(strategy === 'weighted') && <NumberInput size="xs" w={74} aria-label={`${words.weight} ${m.model}`} value={m.weight} onChange={(v) => put(m.id, { weight: typeof v === 'number' ? v : 0 })} min={0} max={1000000} allowDecimal={false} />}
                {strategy === 'weighted' && <span className="num sort-share">{m.enabled && sum > 0 ? `${Math.round((100 * m.weight) / sum)} %` : '–'}</span>}
                <Switch size="xs" checked={m.enabled} onChange={(e) => put(m.id, { enabled: e.currentTarget.checked })} aria-label={`${words.enabled} ${m.model}`} />
                <ActionIcon variant="subtle" color="gray" size="sm" onClick={() => setMembers((all) => all.filter((x) => x.id !== m.id))} aria-label={`${words.delete} ${m.model}`}><IconX size={15} /></ActionIcon>
              </>
            )}
          </Sortable>
          <Group gap={6} wrap="nowrap">
            <Autocomplete size="xs" flex={1} aria-label={words.addMember} placeholder={words.addMemberHint} data={known} limit={30} value={adding} onChange={setAdding} onOptionSubmit={add}
              onKeyDown={(e) => { if (e.key === 'Enter' && adding.trim()) { e.preventDefault(); add(adding); } }} />
            <Button size="xs" variant="default" leftSection={<IconPlus size={14} />} disabled={!adding.trim()} onClick={() => add(adding)}>{words.add}</Button>
          </Group>
        </Stack>
        {strategy === 'auto' && (
          <SimpleGrid cols={{ base: 2, xs: 4 }} spacing="xs">
            {factors.map((f) => <NumberInput key={f} size="xs" label={words[`factor_${f}`]} value={auto[f] ?? ''} onChange={(v) => setAuto({ ...auto, [f]: v })} min={0} step={0.05} decimalScale={3} hideControls />)}
          </SimpleGrid>
        )}
        <Select label={words.sticky} value={sticky} onChange={(s) => s && setSticky(s)} allowDeselect={false} data={(['none', 'conversation', 'prefix'] as const).map((s) => ({ value: s, label: words[`sticky_${s}`] }))} />
        <Button variant="subtle" color="gray" size="compact-sm" style={{ alignSelf: 'flex-start' }} leftSection={<IconAdjustments size={14} />} onClick={() => setHasMore(!hasMore)} aria-expanded={hasMore}>{words.whenOneFails}</Button>
        <Collapse expanded={hasMore}>
          <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="xs">
            {knobs.map((k) => <NumberInput key={k} size="xs" label={words[`knob_${k}`]} value={more[k] ?? ''} onChange={(v) => setMore({ ...more, [k]: v })} min={0} allowDecimal={false} hideControls placeholder={`${String(settings.data?.find((s) => s.name === behind[k])?.value ?? '')} (${behind[k]})`} />)}
          </SimpleGrid>
        </Collapse>
        <Advanced isSet={system !== '' || filter !== ''}>
          <Textarea label={words.systemInstead} description={words.systemInsteadHint} value={system} onChange={(e) => setSystem(e.currentTarget.value)} maxLength={50_000} autosize minRows={2} maxRows={10} disabled={isFixed} />
          <TextInput label={words.toolFilter} description={words.toolFilterHint} value={filter} onChange={(e) => setFilter(e.currentTarget.value)} maxLength={1000} placeholder="^(read|search)_" classNames={{ input: 'mono' }} disabled={isFixed} />
        </Advanced>
        {save.error && <Failure error={save.error} overwrite={() => save.mutate()} />}
        <Group justify="space-between">
          {old ? <Button variant="subtle" color="red" onClick={() => setDoomed(true)}>{words.delete}</Button> : <span />}
          <Group gap="xs"><Button variant="default" onClick={onClose}>{words.cancel}</Button><Button type="submit" loading={save.isPending} disabled={!name.trim() || members.length === 0 || isFixed}>{old ? words.save : words.create}</Button></Group>
        </Group>
      </Stack>
      <Confirm title={words.deleteCombo} opened={isDoomed} busy={remove.isPending} error={remove.error} onClose={() => setDoomed(false)} onDo={() => remove.mutate()}>
        <Text><b>{old?.name}</b>: {words.deleteModelHint}{users.length > 0 && ` ${words.leavesCombos} ${users.join(', ')}.`}</Text>
      </Confirm>
    </form></Guard>
  );
}

export function ChainDrawer({ model, isNew, onClose }: { model: string | null; isNew: boolean; onClose: () => void }) {
  const words = useWords();
  const chains = useQuery(routing.chains);
  const chain = chains.data?.find((c) => c.model === model) ?? null;
  return (
    <Side size={width} opened={isNew || model !== null} onClose={onClose} title={isNew ? words.addChain : model}>
      {isNew ? <ChainForm key="new" old={null} onClose={onClose} />
        : <Loaded query={chains}>{() => chain ? <Edited key={chain.model} path={`/sluice/v1/chains/${encodeURIComponent(chain.model)}`} seen={chain}><ChainForm old={chain} onClose={onClose} /></Edited> : <Text size="sm" c="dimmed">{words.noMatch}</Text>}</Loaded>}
    </Side>
  );
}

function ChainForm({ old, onClose }: { old: Chain | null; onClose: () => void }) {
  const words = useWords();
  const providers = useQuery(lists.providers);
  const models = useQuery(lists.models);
  const [model, setModel] = useState(old?.model ?? '');
  const [links, setLinks] = useState<Link[]>(old?.chain ?? []);
  const put = (provider: string, change: Partial<Link>) => setLinks((all) => all.map((l) => (l.provider === provider ? { ...l, ...change } : l)));
  const save = useMutation({
    mutationFn: () => take(api.PUT('/sluice/v1/chains/{model}', { params: { path: { model: model.trim() } }, body: { chain: links.map((l, i) => ({ ...l, priority: i })) } })),
    onSuccess: () => { notifications.show({ message: `${words.saved}: ${model}`, color: 'teal' }); onClose(); },
  });
  const remove = useMutation({ mutationFn: () => take(api.DELETE('/sluice/v1/chains/{model}', { params: { path: { model: old?.model ?? '' } } })), onSuccess: onClose });
  const free = (providers.data ?? []).map((p) => p.name).filter((n) => !links.some((l) => l.provider === n));
  return (
    <Guard isForm><form onSubmit={(e) => { e.preventDefault(); save.mutate(); }}>
      <Stack gap="md">
        <Autocomplete label={words.chainOf} value={model} onChange={setModel} required disabled={old !== null} data={(models.data ?? []).map((m) => m.name)} limit={30} classNames={{ input: 'mono' }} description={words.chainsHint} />
        <Stack gap={6}>
          <Text size="sm" fw={500}>{words.providers} <Text span size="xs" c="dimmed">{words.orderCounts}</Text></Text>
          <Sortable label={words.providers} items={links} keyOf={(l) => l.provider} nameOf={(l) => l.provider} onMove={(from, to) => setLinks((all) => moved(all, from, to))}>
            {(l) => (
              <>
                <div className="sort-main"><span className="ell">{l.provider}</span></div>
                <Switch size="xs" checked={l.enabled} onChange={(e) => put(l.provider, { enabled: e.currentTarget.checked })} aria-label={`${words.enabled} ${l.provider}`} />
                <ActionIcon variant="subtle" color="gray" size="sm" onClick={() => setLinks((all) => all.filter((x) => x.provider !== l.provider))} aria-label={`${words.delete} ${l.provider}`}><IconX size={15} /></ActionIcon>
              </>
            )}
          </Sortable>
          <Select key={links.length} size="xs" aria-label={words.addProvider} placeholder={words.addProvider} data={free} value={null} searchable onChange={(p) => p && setLinks([...links, { provider: p, priority: links.length, enabled: true }])} />
        </Stack>
        {save.error && <Failure error={save.error} overwrite={() => save.mutate()} />}
        {remove.error && <Failure error={remove.error} overwrite={() => remove.mutate()} />}
        <Group justify="space-between">
          {old ? <Button variant="subtle" color="red" loading={remove.isPending} onClick={() => remove.mutate()}>{words.delete}</Button> : <span />}
          <Group gap="xs"><Button variant="default" onClick={onClose}>{words.cancel}</Button><Button type="submit" loading={save.isPending} disabled={!model.trim() || links.length === 0}>{old ? words.save : words.create}</Button></Group>
        </Group>
      </Stack>
    </form></Guard>
  );
}
