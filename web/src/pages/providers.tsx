// Providers as cards: what they are, where, with which credential, how they do; and each with the models it has.
import { ActionIcon, Anchor, Badge, Button, Card, Checkbox, Code, Group, Paper, PasswordInput, SimpleGrid, Stack, Switch, Tabs, Text, TextInput, Tooltip } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconBuildingWarehouse, IconEye, IconEyeOff, IconPencil, IconPlayerPlay, IconPlus, IconRefresh, IconSearch, IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { Link, useLocation, useParams, useSearchParams } from 'wouter';
import { ask } from '../api/chat';
import { api, type Provider, type ServedModel, take } from '../api/client';
import { discovered, lists } from '../api/lists';
import { routing, stateOf } from '../api/routing';
import { useSpeech, useWords } from '../i18n';
import { useAsSeen } from '../parts/as-seen';
import { Catalogue } from '../parts/catalogue';
import { AfterProvider } from '../parts/consequences';
import { Dialog } from '../parts/dialog';
import { Confirm } from '../parts/dialogs';
import { count, counted, said, span } from '../parts/format';
import { Gone } from '../parts/gone';
import { Guard } from '../parts/guard';
import { Mark } from '../parts/mark';
import { Edited } from '../parts/edited';
import { ProviderAdvanced, providerMore, providerMoreBody } from '../parts/provider-advanced';
import { Empty, Failure, Loaded, Origin, Page } from '../parts/pieces';
import { Side } from '../parts/side';
import { VTable } from '../parts/vtable';
import { QuotaMeter } from './routing-breakers';

const pathOf = (name: string) => `/sluice/v1/providers/${encodeURIComponent(name)}`;

export default function Providers() {
  const words = useWords();
  const name = useParams().rest;
  const [, go] = useLocation();
  const providers = useQuery(lists.providers);
  const models = useQuery(lists.models);
  const [text, setText] = useState('');
  const [search, setSearch] = useSearchParams();
  const isAdding = search.has('new');
  const setAdding = (is: boolean) => setSearch(is ? { new: '' } : {}, { replace: true });
  const edited = search.get('edit'); // a name
  const setEdited = (p: string | null) => setSearch((was) => { const next = new URLSearchParams(was); if (p === null) next.delete('edit'); else next.set('edit', p); return next; }, { replace: p === null });
  const [doomed, setDoomed] = useState<Provider | null>(null);
  const remove = useMutation({
    mutationFn: (n: string) => take(api.DELETE('/sluice/v1/providers/{name}', { params: { path: { name: n }, query: { cascade: true } } })), onSuccess: () => { setDoomed(null); go('/providers'); },
  });
  const served = useMemo(() => {
    const found = new Map<string, ServedModel[]>();
    for (const m of models.data ?? []) for (const p of new Set(m.targets.map((t) => t.provider))) { const list = found.get(p); if (list) list.push(m); else found.set(p, [m]); }
    return found;
  }, [models.data]);
  const changed = edited === null ? undefined : providers.data?.find((p) => p.name === edited);
  const add = <Guard><Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => setAdding(true)}>{words.addProvider}</Button></Guard>;
  const open = name === undefined ? undefined : providers.data?.find((p) => p.name === decodeURIComponent(name));
  return (
    <Page title={words.providers} actions={add} calls={[{ method: 'GET', path: '/sluice/v1/providers' }, { method: 'POST', path: '/sluice/v1/providers', body: { name: 'work', type: 'openai', api_key: '…' } },
      { method: 'GET', path: '/admin/api/config/providers/cloud/models' }]}>
      <Gone name={edited ?? (name && decodeURIComponent(name))} among={providers.data} is={(p, n) => p.name === n} />
      <Loaded query={providers}>
        {(all) => all.length === 0 ? <Paper withBorder><Empty icon={<IconBuildingWarehouse size={36} />} title={words.noProviders} hint={words.noProvidersHint} action={add} /></Paper> : (
          <Stack gap="sm">
            {all.length > 9 && <TextInput size="xs" placeholder={words.search} aria-label={words.search} leftSection={<IconSearch size={14} />} value={text} onChange={(e) => setText(e.currentTarget.value)} w={{ base: '100%', xs: 240 }} />}
            <SimpleGrid cols={{ base: 1, sm: 2, xl: 3 }} spacing="md">
              {all.filter((p) => `${p.name} ${p.type} ${p.base_url}`.toLowerCase().includes(text.trim().toLowerCase())).map((p) => (
                <ProviderCard key={p.name} p={p} served={served.get(p.name) ?? []} onEdit={() => setEdited(p.name)} onDelete={() => setDoomed(p)} />
              ))}
            </SimpleGrid>
          </Stack>
        )}
      </Loaded>
      <Side opened={open !== undefined} onClose={() => go('/providers')} size="min(860px, 100%)" title={open?.name ?? ''}>
        {open && <Inside p={open} served={served.get(open.name) ?? []} onEdit={() => setEdited(open.name)} onDelete={() => setDoomed(open)} />}
      </Side>
      {isAdding && <ProviderForm old={null} onClose={() => setAdding(false)} onRenamed={() => undefined} />}
      {changed && <Edited key={changed.name} path={pathOf(changed.name)} seen={changed}><ProviderForm old={changed} onClose={() => setEdited(null)} onRenamed={(to) => { if (name !== undefined) go(`/providers/${encodeURIComponent(to)}`); }} /></Edited>}
      <Confirm path={doomed ? pathOf(doomed.name) : undefined} title={words.deleteProvider} opened={doomed !== null} busy={remove.isPending} error={remove.error} onClose={() => setDoomed(null)} onDo={() => doomed && remove.mutate(doomed.name)}>
        {doomed && <AfterProvider p={doomed} served={served.get(doomed.name) ?? []} />}
      </Confirm>
    </Page>
  );
}

/** What the last five minutes say of it. */
function useHealth(name: string) {
  const series = useQuery(lists.series);
  const u = series.data?.upstreams.find((x) => x.id === name);
  const share = u && u.requests > 0 ? u.errors / u.requests : 0;
  return { figures: u, is: !u || u.requests === 0 ? undefined : share >= 0.5 ? 'bad' : share >= 0.1 ? 'warn' : 'fine' };
}

function Health({ p }: { p: Provider }) {
  const words = useWords();
  const { language } = useSpeech();
  const { figures, is } = useHealth(p.name);
  const breakers = useQuery(routing.breakers);
  const isLeft = p.enabled && stateOf(breakers.data?.filter((b) => b.model === null), p.name)?.state === 'open';
  const errors = figures && is && is !== 'fine' ? `${((100 * figures.errors) / figures.requests).toFixed(0)} % ${words.errorsShort}` : '';
  const text = !p.enabled ? words.disabled : isLeft ? [words.breaker_open, errors].filter(Boolean).join(' · ') : !figures || !is ? words.idle : errors || words.healthy;
  return (
    <Group gap={7} wrap="nowrap">
      <span className="dot" data-is={!p.enabled ? undefined : isLeft ? 'bad' : is} aria-hidden />
      <Text size="xs" fw={550}>{text}</Text>
      {figures && figures.requests > 0 && <Text size="xs" c="dimmed" className="num ell">{count(figures.requests, language)} {words.inFiveMinutes} · {figures.ttft_ms > 0 ? span(Math.round(figures.ttft_ms * 1000)) : span(Math.round(figures.avg_ms * 1000))}</Text>}
    </Group>
  );
}

/** How much of its vendor's windows is used, as far as the vendor says. */
function Quotas({ name }: { name: string }) {
  const words = useWords();
  const quotas = useQuery(routing.quotas);
  const mine = quotas.data?.filter((q) => q.provider === name) ?? [];
  if (mine.length === 0) return null;
  return <Stack gap={4}>{mine.slice(0, 3).map((q) => <Group key={q.id} gap={8} wrap="nowrap"><Text size="xs" c="dimmed" w={62} className="ell">{said(words, 'window', q.window)}</Text><div style={{ flex: 1 }}><QuotaMeter q={q} /></div></Group>)}</Stack>;
}

/** Asks one of the models that are served from it, or else for the models that it has. */
function useTest(p: Provider, served: readonly ServedModel[]) {
  const { words, language } = useSpeech();
  const queries = useQueryClient();
  return useMutation({
    mutationFn: async () => {
      const talks = (m: ServedModel) => m.capabilities.length === 0 || m.capabilities.includes('text');
      const target = served.filter((m) => m.enabled && talks(m)).flatMap((m) => m.targets.filter((t) => t.provider === p.name).map((t) => t.upstream_model || m.name))[0] ?? (p.type === 'echo' ? 'echo' : undefined);
      if (target !== undefined) {
        const answer = await ask({ model: `${p.name}/${target}`, maxTokens: 16, messages: [{ role: 'user', content: 'Say hello.' }] });
        return { us: answer.totalUs, message: `${target}: ${(answer.text || answer.thinking).slice(0, 200)}` };
      }
      const begun = performance.now();
      const found = await queries.fetchQuery({ ...discovered(p.name), staleTime: 0 });
      return { us: Math.round((performance.now() - begun) * 1000), message: counted(found.length, words.model, words.models, language) };
    },
    onSuccess: ({ us, message }) => notifications.show({ title: `${p.name}: ${words.answered} ${span(us)}`, message, color: 'teal' }),
    onError: (e) => notifications.show({ title: p.name, message: e.message, color: 'red' }),
  });
}

/** Whether its vendor asks for a key. */
function useNeedsKey(p: Provider): boolean {
  return useQuery(lists.kinds).data?.find((k) => k.id === p.type)?.key_env !== '';
}

function ProviderCard({ p, served, onEdit, onDelete }: { p: Provider; served: ServedModel[]; onEdit: () => void; onDelete: () => void }) {
  const words = useWords();
  const { language } = useSpeech();
  const needsKey = useNeedsKey(p);
  const { run, dialog } = useAsSeen<Provider>({
    nameOf: (x) => x.name, pathOf: (x) => pathOf(x.name),
    change: ({ name }, enabled) => take(api.PATCH('/sluice/v1/providers/{name}', { params: { path: { name } }, body: { enabled } })),
  });
  const test = useTest(p, served);
  return (
    <Card withBorder padding="md" pos="relative" className="clickable">
      <Link href={`/providers/${encodeURIComponent(p.name)}`} className="card-link" aria-label={p.name} />
      <Stack gap={10} h="100%" opacity={p.enabled ? 1 : 0.75}>
        <Group justify="space-between" wrap="nowrap">
          <Group gap={10} wrap="nowrap" miw={0}><Mark name={p.name} kind={p.type} size={34} /><div style={{ minWidth: 0 }}><Text fw={600} className="ell">{p.name}</Text><Text size="xs" c="dimmed" className="ell">{p.type}</Text></div></Group>
          <Guard><Switch size="xs" className="over" checked={p.enabled} onChange={(e) => run([p], e.currentTarget.checked)} aria-label={`${words.enabled} ${p.name}`} /></Guard>
        </Group>
        <Health p={p} />
        <Quotas name={p.name} />
        <Text size="xs" c="dimmed" className="mono ell" title={p.base_url}>{p.base_url || words.local}</Text>
        <Group justify="space-between" mt="auto" wrap="nowrap">
          <Text size="xs" c="dimmed" className="ell">{p.api_key ? <span className="mono">{p.api_key}</span> : needsKey ? words.noCredential : words.needsNoKey} · {counted(served.length, words.model, words.models, language)} <Origin from={p.origin} /></Text>
          <Group gap={0} wrap="nowrap" className="over">
            <Tooltip label={p.enabled ? words.test : words.disabled}><ActionIcon variant="subtle" size="sm" loading={test.isPending} disabled={!p.enabled} onClick={() => test.mutate()} aria-label={`${words.test} ${p.name}`}><IconPlayerPlay size={15} /></ActionIcon></Tooltip>
            <Guard><ActionIcon variant="subtle" color="gray" size="sm" onClick={onEdit} aria-label={`${words.edit} ${p.name}`}><IconPencil size={15} /></ActionIcon>
            <ActionIcon variant="subtle" color="red" size="sm" onClick={onDelete} aria-label={`${words.delete} ${p.name}`}><IconTrash size={15} /></ActionIcon></Guard>
          </Group>
        </Group>
      </Stack>
      {dialog}
    </Card>
  );
}

function Reveal({ p }: { p: Provider }) {
  const words = useWords();
  const needsKey = useNeedsKey(p);
  const show = useMutation({ mutationFn: () => take(api.GET('/admin/api/config/providers/{name}/key', { params: { path: { name: p.name } } })), gcTime: 0 });
  if (!p.api_key) return <>{needsKey ? words.noCredential : words.needsNoKey}</>;
  return (
    <Group gap={4} wrap="nowrap">
      <span className="mono">{show.data ? show.data.api_key : p.api_key}</span>
      <Guard><ActionIcon size="xs" variant="subtle" color="gray" loading={show.isPending} onClick={() => (show.data ? show.reset() : show.mutate())} aria-label={show.data ? words.hide : words.reveal}>{show.data ? <IconEyeOff size={14} /> : <IconEye size={14} />}</ActionIcon></Guard>
      {show.error && <Text size="xs" c="var(--mantine-color-error)">{show.error.message}</Text>}
    </Group>
  );
}

function Inside({ p, served, onEdit, onDelete }: { p: Provider; served: ServedModel[]; onEdit: () => void; onDelete: () => void }) {
  const words = useWords();
  const hasList = p.type !== 'echo';
  const found = useQuery({ ...discovered(p.name), enabled: hasList });
  const ids = found.data ?? [];
  return (
    <Stack gap="md">
      <Group justify="space-between">
        <Group gap="sm"><Mark name={p.name} kind={p.type} size={40} /><div><Text size="sm" c="dimmed">{[p.type, ...p.wires].join(' · ')}</Text><Health p={p} /></div></Group>
        <Group gap={8}>
          <Button size="xs" variant="default" component={Link} href={`/requests?provider=${encodeURIComponent(p.name)}`}>{words.itsRequests}</Button>
          <Button size="xs" variant="default" leftSection={<IconPencil size={14} />} onClick={onEdit}>{words.edit}</Button>
          <Guard><Button size="xs" variant="light" color="red" leftSection={<IconTrash size={14} />} onClick={onDelete}>{words.delete}</Button></Guard>
        </Group>
      </Group>
      <div className="facts">
        <div style={{ gridColumn: '1 / -1' }}><div className="fact-name">{words.baseUrl}</div><div className="fact-value mono">{p.base_url || words.local}</div></div>
        <div><div className="fact-name">{words.credential}</div><div className="fact-value"><Reveal p={p} /></div></div>
        {p.proxy && <div><div className="fact-name">{words.proxy}</div><div className="fact-value mono">{p.proxy}</div></div>}
        <div><div className="fact-name">{words.origin}</div><div className="fact-value">{p.origin === 'api' ? words.madeHere : said(words, 'origin', p.origin)}</div></div>
      </div>
      <Quotas name={p.name} />
      <Tabs defaultValue={hasList ? 'found' : 'custom'} keepMounted={false}>
        <Tabs.List mb="sm">
          {hasList && <Tabs.Tab value="found" rightSection={<Badge size="xs" variant="default">{ids.length}</Badge>}>{words.discovered}</Tabs.Tab>}
          <Tabs.Tab value="custom" rightSection={<Badge size="xs" variant="default">{served.length}</Badge>}>{words.custom}</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="found"><Loaded query={found}>{(all) => <Found p={p} ids={all} served={served} />}</Loaded>
          {found.data && <Button mt="xs" size="compact-xs" variant="subtle" color="gray" leftSection={<IconRefresh size={13} />} loading={found.isFetching} onClick={() => void found.refetch()}>{words.askAgain}</Button>}</Tabs.Panel>
        <Tabs.Panel value="custom">
          {served.length === 0 ? <Text size="sm" c="dimmed">{words.noCustom}</Text> : (
            <Paper withBorder><VTable label={words.custom} rows={served} rowKey={(m) => m.name} height="50vh" rowHeight={36} columns={[
              { id: 'name', head: words.modelName, width: '1fr', cell: (m) => <Link href={`/models/${encodeURIComponent(m.name)}`} className="quiet mono">{m.name}</Link> },
              { id: 'up', head: words.upstreamModel, width: '1fr', cell: (m) => <span className="mono">{m.targets.find((t) => t.provider === p.name)?.upstream_model || m.name}</span> },
              { id: 'on', head: words.state, width: '80px', cell: (m) => (m.enabled ? words.enabled : words.disabled) }]} /></Paper>
          )}
        </Tabs.Panel>
      </Tabs>
    </Stack>
  );
}

/** What it says it has: what is served already, and what could be, chosen and served in one go. */
function Found({ p, ids, served }: { p: Provider; ids: readonly string[]; served: ServedModel[] }) {
  const words = useWords();
  const [text, setText] = useState('');
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const known = useMemo(() => new Set(served.flatMap((m) => m.targets.filter((t) => t.provider === p.name).map((t) => t.upstream_model || m.name))), [served, p.name]);
  const add = useMutation({
    mutationFn: () => take(api.POST('/admin/api/config/models', { body: { provider: p.name, models: [...picked] } })),
    onSuccess: (a) => { notifications.show({ message: `${words.served}: ${a.added?.length ?? 0}${a.skipped?.length ? ` · ${words.skipped}: ${a.skipped.length}` : ''}`, color: 'teal' }); setPicked(new Set()); },
    onError: (e) => notifications.show({ title: words.notDone, message: e.message, color: 'red' }),
  });
  const rows = ids.filter((id) => id.toLowerCase().includes(text.trim().toLowerCase()));
  const free = rows.filter((id) => !known.has(id));
  if (ids.length === 0) return <Text size="sm" c="dimmed">{words.noneFound}</Text>;
  return (
    <Stack gap="xs">
      <Group gap="xs">
        <TextInput size="xs" placeholder={words.search} aria-label={words.search} leftSection={<IconSearch size={14} />} value={text} onChange={(e) => setText(e.currentTarget.value)} w={220} />
        <Guard><Button size="xs" disabled={picked.size === 0} loading={add.isPending} onClick={() => add.mutate()}>{words.serve} {picked.size > 0 && picked.size}</Button></Guard>
        <Anchor component="button" type="button" size="xs" c="dimmed" onClick={() => setPicked(picked.size ? new Set() : new Set(free))}>{picked.size ? words.clear : `${words.pickAll} (${free.length})`}</Anchor>
      </Group>
      <Paper withBorder>
        <VTable label={words.discovered} rows={rows} rowKey={(id) => id} height="50vh" rowHeight={34} columns={[
          { id: 'pick', head: '', width: '22px', cell: (id) => <Checkbox size="xs" aria-label={`${words.pick} ${id}`} disabled={known.has(id)} checked={known.has(id) || picked.has(id)} onChange={(e) => { const next = new Set(picked); if (e.currentTarget.checked) next.add(id); else next.delete(id); setPicked(next); }} /> },
          { id: 'id', head: words.upstreamModel, width: '1fr', cell: (id) => <span className="mono">{id}</span> },
          { id: 'state', head: words.state, width: '90px', cell: (id) => (known.has(id) ? <span className="status" data-is="fine">{words.served}</span> : '') }]} />
      </Paper>
      <Text size="xs" c="dimmed">{words.alwaysAs} <Code>{p.name}/…</Code></Text>
    </Stack>
  );
}

function ProviderForm({ old, onClose, onRenamed }: { old: Provider | null; onClose: () => void; onRenamed: (to: string) => void }) {
  const words = useWords();
  const kinds = useQuery(lists.kinds);
  const [name, setName] = useState(old?.name ?? '');
  const [type, setType] = useState(old?.type ?? '');
  const [url, setUrl] = useState(old?.base_url ?? '');
  const [key, setKey] = useState('');
  const [proxy, setProxy] = useState(old?.proxy ?? '');
  const [version, setVersion] = useState('');
  const kind = kinds.data?.find((k) => k.id === type);
  const [changed, setMore] = useState<ReturnType<typeof providerMore> | null>(null); // null: as it is, which the list of kinds may still tell
  const more = changed ?? providerMore(old, kind);
  const save = useMutation({
    mutationFn: async () => {
      const body = { type, base_url: url === kind?.base_url ? '' : url, ...(key && { api_key: key }), ...(proxy !== (old?.proxy ?? '') && { proxy: proxy.trim() }), ...(version && { api_version: version }), ...providerMoreBody(more, old, kind) };
      if (old) await take(api.PATCH('/sluice/v1/providers/{name}', { params: { path: { name: old.name } }, body: { ...body, ...(name !== old.name && { name }) } }));
      else await take(api.POST('/sluice/v1/providers', { body: { name, ...body } }));
    },
    onSuccess: () => { if (old && name !== old.name) onRenamed(name); onClose(); },
  });
  return (
    <Dialog onClose={onClose} title={old ? `${words.edit}: ${old.name}` : words.addProvider} size={type ? 'md' : 'xl'}>
      {!type ? <Catalogue title={words.kind} picked="" withEcho onPick={(k) => { setType(k.id); setUrl(k.base_url); if (!name) setName(k.id); }} /> : (
        <Guard isForm><form onSubmit={(e) => { e.preventDefault(); save.mutate(); }}>
          <Stack>
            <Group justify="space-between"><Group gap="sm"><Mark name={kind?.title ?? type} kind={type} /><Text fw={600}>{kind?.title ?? type}</Text></Group>{!old && <Button size="compact-xs" variant="subtle" color="gray" onClick={() => { setType(''); setName(''); }}>{words.change}</Button>}</Group>
            <TextInput label={words.name} value={name} onChange={(e) => setName(e.currentTarget.value)} required description={old ? words.renameHint : undefined} />
            {type !== 'echo' && <TextInput label={words.baseUrl} value={url} onChange={(e) => setUrl(e.currentTarget.value)} placeholder="https://" classNames={{ input: 'mono' }} required={kind?.base_url === ''} />}
            {type !== 'echo' && <PasswordInput label={words.apiKey} value={key} onChange={(e) => setKey(e.currentTarget.value)} description={old?.api_key ? words.keepKey : kind?.is_local ? words.noKeyNeeded : kind?.key_env} autoComplete="off" />}
            {type.startsWith('azure') && <TextInput label="api-version" value={version} onChange={(e) => setVersion(e.currentTarget.value)} placeholder="2025-04-01-preview" required={!old} />}
            {type !== 'echo' && <TextInput label={words.proxy} value={proxy} onChange={(e) => setProxy(e.currentTarget.value)} placeholder="http://, socks5://" />}
            <ProviderAdvanced old={old} kind={kind} more={more} put={setMore} />
            {save.error && <Failure error={save.error} overwrite={() => save.mutate()} />}
            <Group justify="flex-end">
              <Button variant="default" onClick={onClose}>{words.cancel}</Button>
              <Button type="submit" loading={save.isPending} disabled={!type || !name}>{old ? words.save : words.add}</Button>
            </Group>
          </Stack>
        </form></Guard>
      )}
    </Dialog>
  );
}
