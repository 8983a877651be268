// Served models: names that clients ask for, and where each leads.
import { ActionIcon, Badge, Button, Checkbox, Group, Menu, MultiSelect, NumberInput, Paper, Select, Stack, Switch, Tabs, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconDots, IconMessages, IconPencil, IconPlayerPlay, IconPlus, IconSearch, IconStack2, IconTrash, IconX } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { memo, useCallback, useDeferredValue, useMemo, useState } from 'react';
import { useLocation, useParams, useSearchParams } from 'wouter';
import { ask } from '../api/chat';
import { api, type Provider, type ServedModel, take } from '../api/client';
import { lists } from '../api/lists';
import { routing, strategies, type Strategy } from '../api/routing';
import { asSeen } from '../api/tags';
import { useSpeech, useWords } from '../i18n';
import { Aliases } from '../parts/aliases';
import { each, Left, useAsSeen } from '../parts/as-seen';
import { AfterModels } from '../parts/consequences';
import { Dialog } from '../parts/dialog';
import { Confirm } from '../parts/dialogs';
import { rate, said, short, span } from '../parts/format';
import { Edited } from '../parts/edited';
import { Gone } from '../parts/gone';
import { Guard, useMay } from '../parts/guard';
import { Empty, Failure, Loaded, Origin, Page } from '../parts/pieces';
import { ModelAdvanced, modelMore, modelMoreBody } from '../parts/model-advanced';
import { PriceFields } from '../parts/price-fields';
import { TabList } from '../parts/tab-list';
import { type Column, type Sort, VTable } from '../parts/vtable';

const capabilities = ['text', 'vision', 'tools', 'reasoning', 'embedding', 'audio', 'image', 'rerank', 'moderation'];
const aliasTab = '::aliases'; // no provider is called that
const states = ['enabled', 'disabled', 'unserved', 'missing', 'free', 'unpriced'] as const;

/** Whether anybody is there to be asked for it. */
function useServed(): (m: ServedModel) => boolean {
  const providers = useQuery(lists.providers);
  return useMemo(() => {
    const off = new Set(providers.data?.filter((p) => !p.enabled).map((p) => p.name));
    return (m) => m.enabled && m.targets.some((t) => !off.has(t.provider));
  }, [providers.data]);
}

/** By name: the combo or alias that requests of a model's name go to instead of to it, as the server goes through names. */
function useHiding(): (name: string) => string | undefined {
  const combos = useQuery(routing.combos);
  const aliases = useQuery(lists.aliases);
  return useMemo(() => {
    const makers = new Map<string, string>();
    const on = (aliases.data ?? []).filter((a) => a.enabled);
    const names = new Set((combos.data ?? []).filter((c) => c.enabled).map((c) => c.name));
    const isPattern = (alias: string) => /[*?]/.test(alias);
    for (const a of on) if (!isPattern(a.alias)) makers.set(a.alias, `${a.alias} → ${a.to}`);
    for (const n of names) makers.set(n, n);
    const patterns = on.filter((a) => isPattern(a.alias) && names.has(a.to)).map((a) => ({ like: new RegExp(`^${a.alias.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*/g, '.*').replace(/\?/g, '.')}$`, 'is'), says: `${a.alias} → ${a.to}` }));
    return (name) => makers.get(name) ?? patterns.find((p) => p.like.test(name))?.says;
  }, [combos.data, aliases.data]);
}

/** Who has no key though its kind asks for one. */
function useKeyless(): Set<string> {
  const providers = useQuery(lists.providers);
  const kinds = useQuery(lists.kinds);
  return useMemo(() => {
    const local = new Set(kinds.data?.filter((k) => k.is_local).map((k) => k.id));
    const lacks = (p: Provider) => p.api_key === '' && p.type !== 'echo' && !local.has(p.type) && !/compatible$/.test(p.type);
    return new Set(kinds.data ? providers.data?.filter(lacks).map((p) => p.name) : []);
  }, [providers.data, kinds.data]);
}

/** Switches models on and off, shown in the list at once and read again when the server has spoken. */
function useSwitch(onDone?: () => void) {
  const queries = useQueryClient();
  return useAsSeen<ServedModel>({
    nameOf: (m) => m.name, pathOf: (m) => pathOf(m.name),
    change: (m, enabled) => take(api.PATCH('/sluice/v1/models/{name}', { params: { path: { name: m.name } }, body: { enabled } })),
    onBegin: ({ name }, enabled) => queries.setQueryData(lists.models.queryKey, (old) => old?.map((m) => (m.name === name ? { ...m, enabled } : m))),
    onFail: () => void queries.invalidateQueries({ queryKey: lists.models.queryKey }),
    ...(onDone && { onDone }),
  });
}

const pathOf = (name: string) => `/sluice/v1/models/${encodeURIComponent(name)}`;

export default function Models() {
  const words = useWords();
  const name = useParams().rest;
  const [, go] = useLocation();
  const [search, setSearch] = useSearchParams();
  const models = useQuery(lists.models);
  const tab = search.get('provider') ?? '*';
  const [text, setText] = useState(search.get('q') ?? '');
  const wanted = useDeferredValue(text.trim().toLowerCase());
  const type = search.get('type');
  const state = search.get('state');
  const [sort, setSort] = useState<Sort>({ by: 'name', down: false });
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const isAdding = search.has('new');
  const [doomed, setDoomed] = useState<ServedModel[]>([]);
  const keyless = useKeyless();
  const isServed = useServed();
  const hiding = useHiding();
  const query = search.toString();
  const at = (path: string) => `${path}${query ? `?${query}` : ''}`;
  const put = (key: string, value: string | null) => setSearch((old) => { const next = new URLSearchParams(old); if (value && value !== '*') next.set(key, value); else next.delete(key); return next; }, { replace: true });
  const setAdding = (is: boolean) => put('new', is ? 'model' : null);
  const byProvider = useMemo(() => {
    const found = new Map<string, ServedModel[]>();
    for (const m of models.data ?? [])
      for (const p of new Set(m.targets.map((t) => t.provider))) { const list = found.get(p); if (list) list.push(m); else found.set(p, [m]); }
    return [...found].sort(([a], [b]) => a.localeCompare(b));
  }, [models.data]);
  const texts = useMemo(() => new Map(models.data?.map((m) => [m, `${m.name} ${m.targets.map((t) => `${t.provider}/${t.upstream_model}`).join(' ')}`.toLowerCase()])), [models.data]);
  const rows = useMemo(() => {
    const lacks = (m: ServedModel) => m.targets.length > 0 && m.targets.every((t) => keyless.has(t.provider));
    const fits = (m: ServedModel) => (tab === '*' || m.targets.some((t) => t.provider === tab)) && (!type || m.capabilities.includes(type)) &&
      (!state || (state === 'missing' ? lacks(m) : state === 'free' ? m.is_free : state === 'unpriced' ? m.input_nanousd === null : state === 'unserved' ? m.enabled && !isServed(m) : state === 'disabled' ? !m.enabled : isServed(m))) && (texts.get(m) ?? '').includes(wanted);
    const sign = sort.down ? -1 : 1;
    const by = (m: ServedModel) => (sort.by === 'context' ? m.context_tokens : sort.by === 'in' ? m.input_nanousd ?? -1 : sort.by === 'out' ? m.output_nanousd ?? -1 : m.name);
    return (models.data ?? []).filter(fits).sort((a, b) => { const [x, y] = [by(a), by(b)]; return sign * (typeof x === 'number' ? x - (y as number) : x < (y as string) ? -1 : x > (y as string) ? 1 : 0); });
  }, [models.data, texts, keyless, isServed, tab, type, state, wanted, sort]);
  const pick = useCallback((n: string, isOn: boolean) => setPicked((old) => { const next = new Set(old); if (isOn) next.add(n); else next.delete(n); return next; }), []);
  const add = <Guard><Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => setAdding(true)}>{words.addModel}</Button></Guard>;
  const chosen = useMemo(() => (picked.size ? (models.data ?? []).filter((m) => picked.has(m.name)) : []), [models.data, picked]);
  const edited = name === undefined ? undefined : models.data?.find((m) => m.name === decodeURIComponent(name));
  const columns = useMemo<Column<ServedModel>[]>(() => [
    { id: 'pick', head: <Checkbox size="xs" aria-label={words.pickAll} checked={rows.length > 0 && rows.every((m) => picked.has(m.name))} indeterminate={picked.size > 0 && !rows.every((m) => picked.has(m.name))} onChange={(e) => setPicked(e.currentTarget.checked ? new Set(rows.map((m) => m.name)) : new Set())} />, width: '22px',
      cell: (m) => <Checkbox size="xs" aria-label={`${words.pick} ${m.name}`} checked={picked.has(m.name)} onClick={(e) => e.stopPropagation()} onChange={(e) => pick(m.name, e.currentTarget.checked)} /> },
    { id: 'name', head: words.model, width: 'minmax(130px, 2fr)', sortable: true, cell: (m) => <span className="model-cell" style={{ opacity: isServed(m) ? 1 : 0.65 }}><b className="mono ell" style={{ fontWeight: 600 }} title={m.name}>{m.name}</b><Origin from={m.origin} />{m.show_alias && <span className="tag">{words.alias}</span>}{m.targets.length > 0 && m.targets.every((t) => keyless.has(t.provider)) && <span className="status" data-is="warn">{words.noCredential}</span>}{m.enabled && !isServed(m) && <span className="status" data-is="warn" title={words.nobodyServesHint}>{words.nobodyServes}</span>}{hiding(m.name) && <span className="tag" title={`${words.hiddenHint} ${hiding(m.name) ?? ''}`}>{words.hidden}</span>}{m.is_free && <span className="status" data-is="fine">{words.free}</span>}</span> },
    { id: 'targets', head: words.targets, width: 'minmax(140px, 2fr)', from: 760, cell: (m) => <span className="mono" style={{ color: 'var(--mantine-color-dimmed)' }} title={m.targets.map((t) => `${t.provider}/${t.upstream_model}`).join('\n')}>{m.targets[0] ? `${m.targets[0].provider}/${m.targets[0].upstream_model || m.name}` : '–'}{m.targets.length > 1 && ` +${m.targets.length - 1}`}</span> },
    { id: 'type', head: words.capabilities, width: 'minmax(120px, 1.4fr)', from: 920, cell: (m) => m.capabilities.map((c) => <span key={c} className="tag">{c}</span>) },
    { id: 'context', head: words.context, width: '76px', right: true, from: 620, sortable: true, cell: (m) => <Context m={m} /> },
    { id: 'in', head: <span title={words.perMillion}>{words.input} $/M</span>, width: '82px', right: true, from: 700, sortable: true, cell: (m) => rate(m.input_nanousd) },
    { id: 'out', head: <span title={words.perMillion}>{words.output} $/M</span>, width: '86px', right: true, from: 700, sortable: true, cell: (m) => rate(m.output_nanousd) },
    { id: 'enabled', head: words.enabled, width: '56px', cell: (m) => <Toggle m={m} /> },
    { id: 'act', head: <span className="hide">{words.actions}</span>, width: '64px', right: true, cell: (m) => <Acts m={m} onDelete={() => setDoomed([m])} /> },
  ], [words, rows, picked, keyless, isServed, hiding, pick]);
  return (
    <Page title={words.models} actions={tab === aliasTab ? undefined : add} calls={[{ method: 'GET', path: '/sluice/v1/models' },
      { method: 'POST', path: '/sluice/v1/models', body: { name: 'coder', targets: [{ provider: 'work', upstream_model: 'qwen3-coder' }] } },
      { method: 'PATCH', path: '/sluice/v1/models/coder', body: { enabled: false } }, { method: 'GET', path: '/sluice/v1/prices/lookup?model=coder' }]}>
      <Gone name={name && decodeURIComponent(name)} among={models.data} is={(m, n) => m.name === n} />
      <Loaded query={models}>
        {(all) => all.length === 0 ? <Paper withBorder><Empty icon={<IconStack2 size={36} />} title={words.noModels} hint={words.noModelsHint} action={add} /></Paper> : (
          <Stack gap="sm">
            <Tabs value={tab} onChange={(t) => put('provider', t)} keepMounted={false}>
              <TabList at={tab}>
                <Tabs.Tab value="*" rightSection={<Tally of={all} is={isServed} />}>{words.all}</Tabs.Tab>
                {byProvider.map(([p, list]) => <Tabs.Tab key={p} value={p} rightSection={<Tally of={list} is={isServed} />}>{p}</Tabs.Tab>)}
                <Tabs.Tab value={aliasTab} ml="auto">{words.aliases}</Tabs.Tab>
              </TabList>
            </Tabs>
            {tab === aliasTab ? <Aliases /> : <>
            <Group gap={8}>
              <TextInput size="xs" placeholder={words.search} aria-label={words.search} leftSection={<IconSearch size={14} />} value={text} onChange={(e) => setText(e.currentTarget.value)} onBlur={() => put('q', text.trim())} w={{ base: '100%', xs: 240 }} />
              <Select size="xs" placeholder={words.capabilities} aria-label={words.capabilities} data={capabilities} value={type} onChange={(v) => put('type', v)} clearable w={{ base: '48%', xs: 150 }} />
              <Select size="xs" placeholder={words.state} aria-label={words.state} data={states.map((s) => ({ value: s, label: s === 'missing' ? words.noCredential : s === 'unserved' ? words.nobodyServes : s === 'free' ? words.free : s === 'unpriced' ? words.unknownPrice : words[s] }))} value={state} onChange={(v) => put('state', v)} clearable w={{ base: '48%', xs: 150 }} />
              <Text size="sm" c="dimmed" role="status">{rows.length} {words.results}</Text>
            </Group>
            {rows.length === 0 ? <Paper withBorder><Empty icon={<IconSearch size={30} />} title={words.noMatch} hint="" /></Paper> : (
              <Paper withBorder>
                <VTable label={words.models} rows={rows} columns={columns} rowKey={(m) => m.name} rowHeight={40} height="max(380px, calc(100dvh - 210px))" onOpen={(m) => go(at(`/models/${encodeURIComponent(m.name)}`))}
                  sort={sort} onSort={(by) => setSort((old) => ({ by, down: old.by === by && !old.down }))} />
              </Paper>
            )}
            {chosen.length > 0 && <Bulk models={chosen} onDone={() => setPicked(new Set())} onDelete={() => setDoomed(chosen)} />}
            </>}
          </Stack>
        )}
      </Loaded>
      {isAdding && !edited && <ModelForm old={null} onClose={() => setAdding(false)} onDelete={() => undefined} />}
      {edited && <Edited key={edited.name} path={pathOf(edited.name)} seen={edited}><ModelForm old={edited} onClose={() => go(at('/models'))} onDelete={() => setDoomed([edited])} /></Edited>}
      <Doomed models={doomed} onClose={() => setDoomed([])} onDone={() => { setDoomed([]); setPicked(new Set()); if (name !== undefined) go(at('/models')); }} />
    </Page>
  );
}

function Context({ m }: { m: ServedModel }) {
  const { language } = useSpeech();
  return <>{m.context_tokens > 0 ? short(m.context_tokens, language) : '–'}</>;
}

function Tally({ of, is }: { of: ServedModel[]; is: (m: ServedModel) => boolean }) {
  return <Badge size="xs" variant="default">{of.filter(is).length}/{of.length}</Badge>;
}

const Toggle = memo(function Toggle({ m }: { m: ServedModel }) {
  const words = useWords();
  const { run, dialog } = useSwitch();
  return <span onClick={(e) => e.stopPropagation()}><Guard><Switch size="xs" checked={m.enabled} onChange={(e) => run([m], e.currentTarget.checked)} aria-label={`${words.enabled} ${m.name}`} /></Guard>{dialog}</span>;
});

function Acts({ m, onDelete }: { m: ServedModel; onDelete: () => void }) {
  const words = useWords();
  const [, go] = useLocation();
  const may = useMay('admin');
  const test = useMutation({
    mutationFn: () => ask({ model: m.name, maxTokens: 16, messages: [{ role: 'user', content: 'Say hello.' }] }),
    onSuccess: (a) => notifications.show({ title: `${m.name}: ${words.answered} ${span(a.totalUs)}`, message: (a.text || a.thinking).slice(0, 200), color: 'teal' }),
    onError: (e) => notifications.show({ title: m.name, message: e.message, color: 'red' }),
  });
  return (
    <Group gap={0} justify="flex-end" wrap="nowrap" onClick={(e) => e.stopPropagation()}>
      <Guard role="member"><ActionIcon variant="subtle" size="sm" loading={test.isPending} onClick={() => test.mutate()} aria-label={`${words.test} ${m.name}`}><IconPlayerPlay size={15} /></ActionIcon></Guard>
      <Menu position="bottom-end">
        <Menu.Target><ActionIcon variant="subtle" color="gray" size="sm" aria-label={`${words.actions} ${m.name}`}><IconDots size={15} /></ActionIcon></Menu.Target>
        <Menu.Dropdown>
          <Menu.Item leftSection={<IconPencil size={14} />} onClick={() => go(`/models/${encodeURIComponent(m.name)}`)}>{words.edit}</Menu.Item>
          <Menu.Item leftSection={<IconMessages size={14} />} onClick={() => go(`/playground?model=${encodeURIComponent(m.name)}`)}>{words.tryIt}</Menu.Item>
          <Menu.Item leftSection={<IconSearch size={14} />} onClick={() => go(`/requests?model=${encodeURIComponent(m.name)}`)}>{words.itsRequests}</Menu.Item>
          <Menu.Item color="red" leftSection={<IconTrash size={14} />} disabled={!may} onClick={onDelete}>{words.delete}</Menu.Item>
        </Menu.Dropdown>
      </Menu>
    </Group>
  );
}

function Bulk({ models, onDone, onDelete }: { models: ServedModel[]; onDone: () => void; onDelete: () => void }) {
  const words = useWords();
  const { run, isBusy, dialog } = useSwitch(onDone);
  return (
    <Paper withBorder shadow="md" px="md" py={8} className="bulk" role="toolbar" aria-label={words.actions}>
      <Group gap="xs">
        <Text size="sm" fw={600}>{models.length} {words.chosen}</Text>
        <Guard><Button size="compact-sm" variant="default" loading={isBusy} onClick={() => run(models, true)}>{words.enable}</Button>
        <Button size="compact-sm" variant="default" loading={isBusy} onClick={() => run(models, false)}>{words.disable}</Button>
        <Button size="compact-sm" variant="light" color="red" onClick={onDelete}>{words.delete}</Button></Guard>
        <Button size="compact-sm" variant="subtle" color="gray" ml="auto" onClick={onDone}>{words.clear}</Button>
      </Group>
      {dialog}
    </Paper>
  );
}

/** One goes as it is when the question is asked, many as the list shows them. */
function Doomed({ models, onClose, onDone }: { models: ServedModel[]; onClose: () => void; onDone: () => void }) {
  const words = useWords();
  const remove = useMutation({
    mutationFn: async ({ those, isForced }: { those: ServedModel[]; isForced: boolean }) => {
      const go = ({ name }: ServedModel) => take(api.DELETE('/sluice/v1/models/{name}', { params: { path: { name }, query: { cascade: true } } }));
      const [only] = those;
      if (models.length === 1 && only) await go(only);
      else await each(those, (m) => m.name, (m) => (isForced ? go(m) : asSeen(pathOf(m.name), m, () => go(m))));
    },
    onSuccess: onDone,
  });
  const left = remove.error instanceof Left ? (remove.error.left as ServedModel[]) : models;
  return (
    <Confirm path={models.length === 1 ? pathOf(models[0]?.name ?? '') : undefined} title={words.deleteModel} opened={models.length > 0} busy={remove.isPending} error={remove.error} onClose={() => { remove.reset(); onClose(); }}
      onDo={() => remove.mutate({ those: left, isForced: false })} onOverwrite={() => remove.mutate({ those: left, isForced: true })}>
      <Text><b>{models.length === 1 ? models[0]?.name : `${models.length} ${words.models}`}</b>: {words.deleteModelHint}</Text>
      <AfterModels models={models} />
    </Confirm>
  );
}

/** What a target says besides, such as its weight, stays as it is. */
type Target = Partial<ServedModel['targets'][number]> & { provider: string; upstream_model: string };

function ModelForm({ old, onClose, onDelete }: { old: ServedModel | null; onClose: () => void; onDelete: () => void }) {
  const words = useWords();
  const providers = useQuery(lists.providers);
  const [name, setName] = useState(old?.name ?? '');
  const [targets, setTargets] = useState<Target[]>(old?.targets ?? [{ provider: '', upstream_model: '' }]);
  const [caps, setCaps] = useState(old?.capabilities ?? ['text']);
  const [context, setContext] = useState<number | string>(old && old.context_tokens > 0 ? old.context_tokens : '');
  const [longest, setLongest] = useState<number | string>(old && old.max_output_tokens > 0 ? old.max_output_tokens : '');
  const [showsAlias, setShowsAlias] = useState(old?.show_alias ?? false);
  const [more, setMore] = useState(() => modelMore(old));
  const isFixed = old?.origin === 'file' || old?.origin === 'environment';
  /** What is as its provider has it is not written. */
  const written = (t: Target) => {
    const usual = providers.data?.find((p) => p.name === t.provider);
    return {
      provider: t.provider, upstream_model: t.upstream_model, ...(t.weight && t.weight !== usual?.weight && { weight: t.weight }), ...(t.priority && t.priority !== usual?.priority && { priority: t.priority }),
      ...(t.price_nanousd !== undefined && t.price_nanousd >= 0 && { price_nanousd: t.price_nanousd }),
    } as ServedModel['targets'][number];
  };
  const save = useMutation({
    mutationFn: async () => {
      const body = {
        targets: targets.filter((t) => t.provider).map(written), capabilities: caps, show_alias: showsAlias,
        context_tokens: typeof context === 'number' ? context : -1, max_output_tokens: typeof longest === 'number' ? longest : -1, // -1: nobody knows
        ...modelMoreBody(more, old),
      };
      if (old) await take(api.PATCH('/sluice/v1/models/{name}', { params: { path: { name: old.name } }, body: { ...body, ...(name !== old.name && { name }) } }));
      else await take(api.POST('/sluice/v1/models', { body: { name, ...body } }));
    },
    onSuccess: onClose,
  });
  const put = (i: number, change: Partial<(typeof targets)[number]>) => setTargets(targets.map((t, k) => (k === i ? { ...t, ...change } : t)));
  return (
    <Dialog onClose={onClose} title={old ? `${words.edit}: ${old.name}` : words.addModel} size="lg">
      <Guard isForm><form onSubmit={(e) => { e.preventDefault(); save.mutate(); }}>
        <Stack>
          <TextInput label={words.modelName} value={name} onChange={(e) => setName(e.currentTarget.value)} required classNames={{ input: 'mono' }} data-autofocus description={old ? words.renameHint : undefined} />
          <Stack gap={6}>
            <Text size="sm" fw={500}>{words.targets} <Text span size="xs" c="dimmed">{old && old.strategy !== 'priority' && (strategies as readonly string[]).includes(old.strategy) ? words[`say_${old.strategy as Strategy}`] : words.targetsHint}</Text></Text>
            {targets.map((t, i) => (
              <Group key={i} gap={6} wrap="nowrap">
                <Select aria-label={`${words.provider} ${i + 1}`} placeholder={words.provider} data={providers.data?.map((p) => p.name) ?? []} value={t.provider || null}
                  onChange={(p) => put(i, { provider: p ?? '' })} searchable flex={1} required={i === 0} />
                <TextInput aria-label={`${words.upstreamModel} ${i + 1}`} placeholder={words.upstreamModel} value={t.upstream_model}
                  onChange={(e) => put(i, { upstream_model: e.currentTarget.value })} flex={1} />
                <ActionIcon variant="subtle" color="gray" onClick={() => setTargets(targets.filter((_, k) => k !== i))} disabled={targets.length === 1}
                  aria-label={`${words.delete} ${i + 1}`}><IconX size={16} /></ActionIcon>
              </Group>
            ))}
            <Button variant="subtle" size="xs" leftSection={<IconPlus size={14} />} onClick={() => setTargets([...targets, { provider: '', upstream_model: '' }])}
              style={{ alignSelf: 'flex-start' }}>{words.addTarget}</Button>
          </Stack>
          <MultiSelect label={words.capabilities} data={capabilities} value={caps} onChange={setCaps} />
          <Group grow>
            <NumberInput label={words.context} value={context} onChange={setContext} min={1} thousandSeparator="," hideControls />
            <NumberInput label={words.maxOutput} value={longest} onChange={setLongest} min={1} thousandSeparator="," hideControls />
          </Group>
          {old && <PriceFields model={old.name} />}
          <Switch label={words.showAlias} checked={showsAlias} onChange={(e) => setShowsAlias(e.currentTarget.checked)} />
          <ModelAdvanced more={more} put={setMore} targets={targets} putTarget={put} />
          {isFixed && <Text size="xs" c="dimmed">{words.stands}: {said(words, 'origin', old.origin)}</Text>}
          {save.error && <Failure error={save.error} overwrite={() => save.mutate()} />}
          <Group justify="space-between">
            {old ? <Button variant="subtle" color="red" onClick={onDelete}>{words.delete}</Button> : <span />}
            <Group gap="xs">
              <Button variant="default" onClick={onClose}>{words.cancel}</Button>
              <Button type="submit" loading={save.isPending} disabled={!name || !targets.some((t) => t.provider)}>{old ? words.save : words.add}</Button>
            </Group>
          </Group>
        </Stack>
      </form></Guard>
    </Dialog>
  );
}
