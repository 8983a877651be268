// Client keys: made (and shown once), limited, watched, switched off, revoked.
import { ActionIcon, Alert, Anchor, Button, Checkbox, Fieldset, Group, Modal, MultiSelect, NumberInput, Paper, Select, SimpleGrid, Stack, Switch, TagsInput, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconKey, IconPlus, IconSearch, IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { Link, useLocation, useParams, useSearchParams } from 'wouter';
import { api, type Key, take } from '../api/client';
import { useNames } from '../api/costs';
import { lists } from '../api/lists';
import { useSpeech, useWords } from '../i18n';
import { useAsSeen } from '../parts/as-seen';
import { BudgetCell, BudgetOf } from '../parts/budget';
import { Confirm, Snippet } from '../parts/dialogs';
import { count, local, moment, short } from '../parts/format';
import { Edited } from '../parts/edited';
import { Gone } from '../parts/gone';
import { Guard } from '../parts/guard';
import { Empty, Failure, Loaded, Origin, Page, When } from '../parts/pieces';
import { Side } from '../parts/side';
import { UsageOfKey } from '../parts/usage';
import { useLikelyModel } from '../parts/target';
import { UseIt } from '../parts/use-it';
import { type Column, VTable } from '../parts/vtable';

const limitNames = ['requests_per_minute', 'requests_per_hour', 'requests_per_day', 'tokens_per_minute', 'tokens_per_day', 'concurrency', 'sessions'] as const;
type Limits = Record<(typeof limitNames)[number], number>;
const pathOf = (id: string) => `/sluice/v1/keys/${encodeURIComponent(id)}`;
const days = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;

export default function Keys() {
  const words = useWords();
  const { language } = useSpeech();
  const id = useParams().rest;
  const [, go] = useLocation();
  const keys = useQuery(lists.keys);
  const series = useQuery(lists.series);
  const [text, setText] = useState('');
  const [search, setSearch] = useSearchParams();
  const isAdding = search.has('new');
  const setAdding = (is: boolean) => setSearch(is ? { new: '' } : {}, { replace: true });
  const [doomed, setDoomed] = useState<Key | null>(null);
  const revoke = useMutation({
    mutationFn: (k: string) => take(api.DELETE('/sluice/v1/keys/{id}', { params: { path: { id: k } } })), onSuccess: () => { setDoomed(null); go('/keys'); },
  });
  const add = <Guard><Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => setAdding(true)}>{words.addKey}</Button></Guard>;
  const open = id === undefined ? undefined : keys.data?.find((k) => k.id === decodeURIComponent(id));
  const wanted = text.trim().toLowerCase();
  const rows = useMemo(() => (keys.data ?? []).filter((k) => `${k.label} ${k.id} ${k.org} ${k.user} ${k.tags.join(' ')}`.toLowerCase().includes(wanted)), [keys.data, wanted]);
  const nameOf = useNames();
  const used = useMemo(() => new Map(series.data?.keys.map((k) => [k.id, k])), [series.data]);
  const columns = useMemo<Column<Key>[]>(() => [
    { id: 'label', head: words.label, width: 'minmax(150px, 2.6fr)', cell: (k) => <><b style={{ fontWeight: 600 }}>{k.label || '–'}</b> <span className="mono" style={{ color: 'var(--mantine-color-dimmed)' }}>{k.id}</span> <Origin from={k.origin} /></> },
    { id: 'owner', head: words.owner, width: 'minmax(90px, 1fr)', from: 900, cell: (k) => <span title={[k.org && nameOf('org', k.org), k.user && nameOf('user', k.user), ...k.tags].filter(Boolean).join(' · ')}>{[k.org && nameOf('org', k.org), k.user && nameOf('user', k.user)].filter(Boolean).join(' / ') || <span style={{ color: 'var(--mantine-color-dimmed)' }}>–</span>} {k.tags.map((t) => <span key={t} className="tag">{t}</span>)}</span> },
    { id: 'scopes', head: words.scopes, width: 'minmax(190px, 1fr)', from: 640, cell: (k) => k.scopes.map((s) => (s === 'admin' ? <span key={s} className="status" data-is="warn">{s}</span> : <span key={s} className="tag">{s}</span>)) },
    { id: 'models', head: words.allowedModels, width: 'minmax(90px, 1fr)', from: 1060, cell: (k) => k.allowed_models.join(', ') || words.all },
    { id: 'limits', head: words.limits, width: 'minmax(90px, 1fr)', from: 960, cell: (k) => { const all = limitNames.filter((n) => (k.limits?.[n] ?? 0) > 0).map((n) => `${short(k.limits?.[n], language)} ${words[`short_${n}`]}`).join(', '); return all ? <span title={all}>{all}</span> : '–'; } },
    { id: 'budget', head: words.budget, width: 'minmax(136px, 1fr)', from: 1120, cell: (k) => <BudgetCell kind="key" id={k.id} /> },
    { id: 'used', head: <span title={`${words.requests} ${words.inFiveMinutes}`}>{words.lately}</span>, width: '96px', right: true, from: 760, cell: (k) => { const u = used.get(k.id); return u ? <>{count(u.requests + u.refused, language)}{u.errors + u.refused > 0 && <span style={{ color: 'var(--bad)' }}> · {u.errors + u.refused}</span>}</> : '–'; } },
    { id: 'expires', head: words.expires, width: 'minmax(90px, 110px)', from: 520, cell: (k) => (k.expires_at ? isExpired(k) ? <span className="status" data-is="bad" title={moment(k.expires_at, language)}>{words.expired}</span> : <When iso={k.expires_at} /> : <span style={{ color: 'var(--mantine-color-dimmed)' }}>{words.never}</span>) },
    { id: 'enabled', head: words.enabled, width: '56px', cell: (k) => <Toggle k={k} /> },
    { id: 'act', head: <span className="hide">{words.actions}</span>, width: '30px', right: true, cell: (k) => <Guard><ActionIcon variant="subtle" color="red" size="sm" onClick={(e) => { e.stopPropagation(); setDoomed(k); }} aria-label={`${words.delete} ${k.label || k.id}`}><IconTrash size={15} /></ActionIcon></Guard> },
  ], [words, language, used, nameOf]);
  return (
    <Page title={words.keys} actions={add}
      calls={[{ method: 'GET', path: '/sluice/v1/keys' }, { method: 'POST', path: '/sluice/v1/keys', body: { label: 'laptop', scopes: ['inference', 'models'], limits: { requests_per_minute: 60 } } }, { method: 'GET', path: '/sluice/v1/metrics/series?by=key&label=ID' }]}>
      <Gone name={id && decodeURIComponent(id)} among={keys.data} is={(k, n) => k.id === n} />
      <Loaded query={keys}>
        {(all) => all.length === 0 ? <Paper withBorder><Empty icon={<IconKey size={36} />} title={words.noKeys} hint={words.noKeysHint} action={add} /></Paper> : (
          <Stack gap="sm">
            <TextInput size="xs" placeholder={words.search} aria-label={words.search} leftSection={<IconSearch size={14} />} value={text} onChange={(e) => setText(e.currentTarget.value)} w={{ base: '100%', xs: 240 }} />
            {rows.length === 0 ? <Paper withBorder><Empty icon={<IconSearch size={30} />} title={words.noMatch} hint="" /></Paper> : (
              <Paper withBorder><VTable label={words.keys} rows={rows} columns={columns} rowKey={(k) => k.id} rowHeight={42} height="max(380px, calc(100dvh - 170px))" onOpen={(k) => go(`/keys/${encodeURIComponent(k.id)}`)} /></Paper>
            )}
          </Stack>
        )}
      </Loaded>
      <NewKey opened={isAdding} onClose={() => setAdding(false)} />
      <Side opened={open !== undefined} onClose={() => go('/keys')} size="min(620px, 100%)" title={open?.label || open?.id}>
        {open && <Edited key={open.id} path={pathOf(open.id)} seen={open}><Inside k={open} onDelete={() => setDoomed(open)} /></Edited>}
      </Side>
      <Confirm path={doomed ? pathOf(doomed.id) : undefined} title={words.deleteKey} opened={doomed !== null} busy={revoke.isPending} error={revoke.error} onClose={() => setDoomed(null)} onDo={() => doomed && revoke.mutate(doomed.id)}>
        <Text><b>{doomed?.label || doomed?.id}</b>: {words.deleteKeyHint}</Text>
      </Confirm>
    </Page>
  );
}

function Toggle({ k }: { k: Key }) {
  const words = useWords();
  const { run, dialog } = useAsSeen<Key>({
    nameOf: (x) => x.label || x.id, pathOf: (x) => pathOf(x.id),
    change: ({ id }, enabled) => take(api.PATCH('/sluice/v1/keys/{id}', { params: { path: { id } }, body: { enabled } })),
  });
  return <span onClick={(e) => e.stopPropagation()}><Guard><Switch size="xs" checked={k.enabled} onChange={(e) => run([k], e.currentTarget.checked)} aria-label={`${words.enabled} ${k.label || k.id}`} /></Guard>{dialog}</span>;
}

const isExpired = (k: Key) => Boolean(k.expires_at) && new Date(k.expires_at ?? 0).getTime() < Date.now();

/* ---- what a key may ---- */

interface Draft {
  label: string; scopes: string[]; allowed: string[]; providers: string[]; addresses: string[]; tags: string[]; org: string; user: string; expires: string; limits: Partial<Record<keyof Limits, number | string>>;
  days: string[]; from: string; until: string; zone: string; isPaused: boolean; bodies: string; isUnlogged: boolean; isUnprompted: boolean;
}

function draftOf(k: Key | null): Draft {
  return {
    label: k?.label ?? '', scopes: k?.scopes ?? ['inference', 'models'], allowed: k?.allowed_models ?? [], providers: k?.providers ?? [], addresses: k?.allowed_ips ?? [], tags: k?.tags ?? [], org: k?.org ?? '', user: k?.user ?? '', expires: k?.expires_at ? local(k.expires_at) : '',
    limits: Object.fromEntries(limitNames.map((n) => [n, k?.limits?.[n] || ''])), days: k?.schedule?.days ?? [], from: k?.schedule?.from ?? '', until: k?.schedule?.until ?? '', zone: k?.schedule?.time_zone ?? '', isPaused: k?.schedule?.paused ?? false,
    bodies: k?.log_bodies ?? '', isUnlogged: k?.no_log ?? false, isUnprompted: k?.no_system_prompt ?? false,
  };
}

/** Limits that the form does not know stay what they are. */
function bodyOf(d: Draft, k: Key | null) {
  return {
    label: d.label, scopes: d.scopes, allowed_models: d.allowed, providers: d.providers, allowed_ips: d.addresses, tags: d.tags, org: d.org, user: d.user, expires_at: !d.expires ? '' : k?.expires_at && d.expires === local(k.expires_at) ? k.expires_at : new Date(d.expires).toISOString(),
    limits: { ...k?.limits, ...Object.fromEntries(limitNames.map((n) => [n, typeof d.limits[n] === 'number' ? d.limits[n] : 0])) } as Limits,
    schedule: { days: d.days, from: d.from, until: d.until, time_zone: d.zone, paused: d.isPaused },
    log_bodies: d.bodies, no_log: d.isUnlogged, no_system_prompt: d.isUnprompted,
  };
}

function Fields({ d, put }: { d: Draft; put: (change: Partial<Draft>) => void }) {
  const words = useWords();
  const models = useQuery(lists.models);
  const orgs = useQuery(lists.orgs);
  const users = useQuery(lists.users);
  const providers = useQuery(lists.providers);
  const [hasMore, setMore] = useState(d.days.length + d.providers.length + d.addresses.length > 0 || d.from !== '' || d.bodies !== '' || d.isUnlogged || d.isUnprompted || limitNames.some((n) => d.limits[n] !== ''));
  return (
    <>
      <TextInput label={words.label} description={words.labelHint} value={d.label} onChange={(e) => put({ label: e.currentTarget.value })} data-autofocus />
      <Checkbox.Group label={words.scopes} value={d.scopes} onChange={(scopes) => put({ scopes })}>
        <Group mt={6}>{['inference', 'models', 'admin'].map((s) => <Checkbox key={s} value={s} label={s} />)}</Group>
      </Checkbox.Group>
      <TagsInput label={words.allowedModels} description={words.allowedModelsHint} value={d.allowed} onChange={(allowed) => put({ allowed })} data={(models.data ?? []).slice(0, 500).map((m) => m.name)} limit={50} />
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="md">
        <Select label={words.org} data={(orgs.data ?? []).map((o) => ({ value: o.id, label: o.name || o.id }))} value={d.org || null} onChange={(v) => put({ org: v ?? '' })} clearable searchable />
        <Select label={words.user} data={(users.data ?? []).map((u) => ({ value: u.id, label: u.name || u.id }))} value={d.user || null} onChange={(v) => put({ user: v ?? '' })} clearable searchable />
        <TagsInput label={words.tags} value={d.tags} onChange={(tags) => put({ tags })} />
        <TextInput type="datetime-local" label={words.expires} value={d.expires} onChange={(e) => put({ expires: e.currentTarget.value })} />
      </SimpleGrid>
      {!hasMore ? <Anchor component="button" type="button" size="sm" onClick={() => setMore(true)} ta="left">{words.limitsAndTimes}…</Anchor> : (
        <>
          <Fieldset legend={words.limits} p="sm">
            <SimpleGrid cols={{ base: 2, xs: 3 }} spacing="xs">
              {limitNames.map((n) => <NumberInput key={n} size="xs" label={words[`limit_${n}`]} value={d.limits[n] ?? ''} onChange={(v) => put({ limits: { ...d.limits, [n]: v } })} min={0} placeholder={words.none} thousandSeparator="," hideControls />)}
            </SimpleGrid>
          </Fieldset>
          <Fieldset legend={words.schedule} p="sm">
            <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="xs">
              <MultiSelect size="xs" label={words.days} data={days.map((v) => ({ value: v, label: words[`day_${v}`] }))} value={d.days} onChange={(v) => put({ days: v })} placeholder={d.days.length ? '' : words.everyDay} />
              <TextInput size="xs" label={words.timeZone} value={d.zone} onChange={(e) => put({ zone: e.currentTarget.value })} placeholder={Intl.DateTimeFormat().resolvedOptions().timeZone} />
              <TextInput size="xs" type="time" label={words.from} value={d.from} onChange={(e) => put({ from: e.currentTarget.value })} />
              <TextInput size="xs" type="time" label={words.until} value={d.until} onChange={(e) => put({ until: e.currentTarget.value })} />
            </SimpleGrid>
            <Switch size="xs" mt="xs" label={words.notInForce} checked={d.isPaused} onChange={(e) => put({ isPaused: e.currentTarget.checked })} />
          </Fieldset>
          <Fieldset legend={words.fromWhere} p="sm">
            <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="xs">
              <MultiSelect size="xs" label={words.onlyProviders} data={[...new Set([...(providers.data ?? []).map((p) => p.name), ...d.providers])]} value={d.providers} onChange={(v) => put({ providers: v })} placeholder={d.providers.length ? '' : words.all} searchable />
              <TagsInput size="xs" label={words.onlyAddresses} value={d.addresses} onChange={(v) => put({ addresses: v })} placeholder={d.addresses.length ? '' : '10.0.0.0/8'} />
            </SimpleGrid>
          </Fieldset>
          <Fieldset legend={words.whatIsKept} p="sm">
            <Stack gap="xs">
              <Select size="xs" label={words.bodiesOfIt} value={d.bodies} onChange={(v) => put({ bodies: v ?? '' })} allowDeselect={false} disabled={d.isUnlogged}
                data={[{ value: '', label: words.asTheSetting }, { value: 'off', label: words.keep_off }, { value: 'errors', label: words.keep_errors }, { value: 'all', label: words.keep_all }]} />
              <Switch size="xs" label={words.neverBodies} checked={d.isUnlogged} onChange={(e) => put({ isUnlogged: e.currentTarget.checked })} />
              <Switch size="xs" label={words.noSystemPrompt} checked={d.isUnprompted} onChange={(e) => put({ isUnprompted: e.currentTarget.checked })} />
            </Stack>
          </Fieldset>
        </>
      )}
    </>
  );
}

function Inside({ k, onDelete }: { k: Key; onDelete: () => void }) {
  const words = useWords();
  const { language } = useSpeech();
  const [d, setD] = useState(() => draftOf(k));
  const series = useQuery(lists.series);
  const used = series.data?.keys.find((x) => x.id === k.id);
  const save = useMutation({
    mutationFn: () => take(api.PATCH('/sluice/v1/keys/{id}', { params: { path: { id: k.id } }, body: bodyOf(d, k) })),
    onSuccess: () => notifications.show({ message: `${words.saved}: ${d.label || k.id}`, color: 'teal' }),
  });
  return (
    <Stack gap="md">
      {isExpired(k) && <Alert color="red" variant="light" p="xs" title={words.expired}><When iso={k.expires_at ?? ''} /></Alert>}
      <div className="facts">
        <div><div className="fact-name">Id</div><div className="fact-value mono">{k.id}</div></div>
        <div><div className="fact-name">{words.created}</div><div className="fact-value">{k.created_at ? <When iso={k.created_at} /> : '–'}</div></div>
        <div><div className="fact-name">{words.requests} {words.inFiveMinutes}</div><div className="fact-value num">{count((used?.requests ?? 0) + (used?.refused ?? 0), language)}{used && used.errors + used.refused > 0 && <span style={{ color: 'var(--bad)' }}> · {used.errors + used.refused} {words.errorsShort}</span>}</div></div>
        <div><div className="fact-name">{words.tokens}</div><div className="fact-value num">{short(used?.tokens_in ?? 0, language)} → {short(used?.tokens_out ?? 0, language)}</div></div>
      </div>
      <BudgetOf kind="key" id={k.id} />
      <UsageOfKey id={k.id} />
      <Group gap="xs">
        <Button size="xs" variant="default" component={Link} href={`/requests?key=${encodeURIComponent(k.id)}`}>{words.itsRequests}</Button>
        <Guard><Button size="xs" variant="light" color="red" leftSection={<IconTrash size={14} />} onClick={onDelete}>{words.revokeKey}</Button></Guard>
      </Group>
      <Guard isForm><form onSubmit={(e) => { e.preventDefault(); save.mutate(); }}>
        <Stack>
          <Fields d={d} put={(change) => setD((old) => ({ ...old, ...change }))} />
          {save.error && <Failure error={save.error} overwrite={() => save.mutate()} />}
          <Group justify="flex-end"><Button type="submit" loading={save.isPending} disabled={d.scopes.length === 0}>{words.save}</Button></Group>
        </Stack>
      </form></Guard>
    </Stack>
  );
}

function NewKey({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const words = useWords();
  const [d, setD] = useState(() => draftOf(null));
  const models = useQuery({ ...lists.models, enabled: opened });
  const likely = useLikelyModel();
  const create = useMutation({ mutationFn: () => take(api.POST('/sluice/v1/keys', { body: bodyOf(d, null) })), gcTime: 0 });
  function close() {
    onClose();
    create.reset();
    setD(draftOf(null));
  }
  const made = create.data?.key;
  const fits = (name: string) => d.allowed.length === 0 || d.allowed.some((a) => new RegExp(`^${a.replace(/[^*]+/g, (t) => t.replace(/[\\^$.|?+()[\]{}]/g, '\\$&')).replace(/\*/g, '.*')}$`).test(name));
  const model = [likely, ...(models.data ?? []).map((m) => m.name)].find((n) => n && fits(n)) ?? d.allowed[0] ?? 'echo';
  return (
    <Modal opened={opened} onClose={close} title={words.addKey} size="lg" closeOnClickOutside={!made}>
      {made ? (
        <Stack>
          <Alert color="teal" variant="light" title={words.keyOnce}>{words.keyOnceHint}</Alert>
          <Snippet text={made} />
          <Text fw={600} size="sm">{words.use}</Text>
          <UseIt secret={made} model={model} />
          <Group justify="flex-end"><Button onClick={close}>{words.close}</Button></Group>
        </Stack>
      ) : (
        <Guard isForm><form onSubmit={(e) => { e.preventDefault(); create.mutate(); }}>
          <Stack>
            <Fields d={d} put={(change) => setD((old) => ({ ...old, ...change }))} />
            {create.error && <Failure error={create.error} />}
            <Group justify="flex-end">
              <Button variant="default" onClick={close}>{words.cancel}</Button>
              <Button type="submit" loading={create.isPending} disabled={d.scopes.length === 0}>{words.create}</Button>
            </Group>
          </Stack>
        </form></Guard>
      )}
    </Modal>
  );
}
