// Whom client keys belong to: organisations and users, what each may use together, which budgets bind them, and what goes along with them.
import { ActionIcon, Button, Group, Paper, Select, Stack, Switch, Tabs, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconBuildingCommunity, IconCoin, IconPigMoney, IconPlus, IconSearch, IconTrash, IconUsers } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { Link, useLocation, useParams, useSearchParams } from 'wouter';
import type { Call } from '../api/calls';
import { api, take } from '../api/client';
import { lists } from '../api/lists';
import type { Org, User } from '../api/objects';
import { useSpeech, useWords } from '../i18n';
import { Advanced } from '../parts/advanced';
import { useAsSeen } from '../parts/as-seen';
import { BudgetCell, BudgetOf } from '../parts/budget';
import { Those } from '../parts/consequences';
import { Confirm } from '../parts/dialogs';
import { Edited } from '../parts/edited';
import { count } from '../parts/format';
import { LimitFields, limitDraft, limitsOf, limitsText } from '../parts/limit-fields';
import { Empty, Failure, Loaded, Origin, Page, When } from '../parts/pieces';
import { Side } from '../parts/side';
import { TabList } from '../parts/tab-list';
import { type Column, VTable } from '../parts/vtable';
import { Guard } from '../parts/guard';

type Kind = 'org' | 'user';
type Holder = Org & Partial<Pick<User, 'org'>>;

const pathOf = (kind: Kind, id: string) => `/sluice/v1/${kind}s/${encodeURIComponent(id)}`;
const nameOf = (h: Holder) => h.name || h.id;
type Body = Partial<Pick<Holder, 'name' | 'enabled' | 'limits' | 'org'>>;

/** Both kinds are changed alike; users have an organisation besides. */
const change = (kind: Kind, id: string, body: Body): Promise<Holder> => (kind === 'org'
  ? take(api.PATCH('/sluice/v1/orgs/{id}', { params: { path: { id } }, body })) : take(api.PATCH('/sluice/v1/users/{id}', { params: { path: { id } }, body })));
const make = (kind: Kind, body: Body & { id?: string }): Promise<Holder> => (kind === 'org' ? take(api.POST('/sluice/v1/orgs', { body })) : take(api.POST('/sluice/v1/users', { body })));
const drop = (kind: Kind, id: string): Promise<unknown> => {
  const params = { path: { id }, query: { detach: true } };
  return kind === 'org' ? take(api.DELETE('/sluice/v1/orgs/{id}', { params })) : take(api.DELETE('/sluice/v1/users/{id}', { params }));
};

export default function Orgs() {
  const words = useWords();
  const tab = useParams().rest ?? 'orgs';
  const kind: Kind = tab === 'users' ? 'user' : 'org';
  const [, go] = useLocation();
  const [search, setSearch] = useSearchParams();
  const orgs = useQuery(lists.orgs);
  const users = useQuery(lists.users);
  const all: Holder[] | undefined = kind === 'org' ? orgs.data : users.data;
  const id = search.get('id');
  const open = id === null ? undefined : all?.find((h) => h.id === id);
  const [doomed, setDoomed] = useState<Holder | null>(null);
  const close = () => setSearch(new URLSearchParams());
  const remove = useMutation({ mutationFn: (h: Holder) => drop(kind, h.id), onSuccess: () => { setDoomed(null); close(); } });
  const calls: Record<Kind, Call[]> = {
    org: [{ method: 'GET', path: '/sluice/v1/orgs' }, { method: 'POST', path: '/sluice/v1/orgs', body: { id: 'acme', name: 'Acme', limits: { tokens_per_day: 2_000_000 } } }, { method: 'PATCH', path: '/sluice/v1/orgs/acme', body: { enabled: false } }, { method: 'DELETE', path: '/sluice/v1/orgs/acme?detach=true' }],
    user: [{ method: 'GET', path: '/sluice/v1/users' }, { method: 'POST', path: '/sluice/v1/users', body: { id: 'ann', name: 'Ann', org: 'acme', limits: { requests_per_minute: 60 } } }, { method: 'PATCH', path: '/sluice/v1/users/ann', body: { org: 'other' } }, { method: 'DELETE', path: '/sluice/v1/users/ann?detach=true' }],
  };
  const add = <Guard><Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => setSearch({ new: '' })}>{kind === 'org' ? words.addOrg : words.addUser}</Button></Guard>;
  return (
    <Page title={words.orgsAndUsers} calls={calls[kind]}>
      <Tabs value={tab} onChange={(t) => go(t === 'users' ? '/orgs/users' : '/orgs')} keepMounted={false}>
        <TabList at={tab}><Tabs.Tab value="orgs">{words.orgs}</Tabs.Tab><Tabs.Tab value="users">{words.users}</Tabs.Tab></TabList>
      </Tabs>
      <Group justify="space-between"><Text size="sm" c="dimmed" flex={1} miw={220}>{words.orgsHint}</Text>{all?.length !== 0 && add}</Group>
      <Loaded query={kind === 'org' ? orgs : users}>
        {(found: Holder[]) => found.length === 0 ? (
          <Paper withBorder><Empty icon={kind === 'org' ? <IconBuildingCommunity size={36} /> : <IconUsers size={36} />} title={kind === 'org' ? words.noOrgs : words.noUsers} hint={kind === 'org' ? words.noOrgsHint : words.noUsersHint} action={add} /></Paper>
        ) : <Holders key={kind} kind={kind} all={found} onOpen={(h) => setSearch({ id: h.id })} onDelete={setDoomed} />}
      </Loaded>
      <Side opened={search.has('new') || open !== undefined} onClose={close} size="min(620px, 100%)" title={open ? nameOf(open) : kind === 'org' ? words.addOrg : words.addUser}>
        {open ? <Inside key={`${kind} ${open.id}`} kind={kind} h={open} onClose={close} onDelete={() => setDoomed(open)} /> : search.has('new') && <Form key={kind} kind={kind} old={null} onClose={close} />}
      </Side>
      <Confirm path={doomed ? pathOf(kind, doomed.id) : undefined} title={kind === 'org' ? words.deleteOrg : words.deleteUser} opened={doomed !== null} busy={remove.isPending} error={remove.error} onClose={() => { setDoomed(null); remove.reset(); }} onDo={() => doomed && remove.mutate(doomed)}>
        {doomed && <After kind={kind} h={doomed} />}
      </Confirm>
    </Page>
  );
}

function Holders({ kind, all, onOpen, onDelete }: { kind: Kind; all: Holder[]; onOpen: (h: Holder) => void; onDelete: (h: Holder) => void }) {
  const { words, language } = useSpeech();
  const [text, setText] = useState('');
  const wanted = text.trim().toLowerCase();
  const orgs = useQuery(lists.orgs);
  const { run, dialog } = useAsSeen<Holder>({ nameOf, pathOf: (h) => pathOf(kind, h.id), change: (h, enabled) => change(kind, h.id, { enabled }) });
  const rows = useMemo(() => all.filter((h) => `${h.name} ${h.id} ${h.org ?? ''}`.toLowerCase().includes(wanted)), [all, wanted]);
  const dim = { color: 'var(--mantine-color-dimmed)' };
  const columns: Column<Holder>[] = [
    { id: 'name', head: words.name, width: 'minmax(120px, 2fr)', cell: (h) => <span style={{ opacity: h.enabled ? 1 : 0.65 }}><b style={{ fontWeight: 600 }}>{nameOf(h)}</b> {h.name && h.name !== h.id && <span className="mono" style={dim}>{h.id}</span>} <Origin from={h.origin} /></span> },
    ...(kind === 'user' ? [{ id: 'org', head: words.org, width: 'minmax(90px, 1fr)', from: 520, cell: (h: Holder) => (h.org ? orgs.data?.find((o) => o.id === h.org)?.name || h.org : <span style={dim}>–</span>) }] : []),
    { id: 'keys', head: words.keys, width: '64px', right: true, from: 420, cell: (h) => count(h.keys, language) },
    { id: 'limits', head: words.limits, width: 'minmax(120px, 1.6fr)', from: 700, cell: (h) => { const said = limitsText(h.limits, words, language); return <span title={said}>{said || <span style={dim}>–</span>}</span>; } },
    { id: 'budget', head: words.budget, width: 'minmax(120px, 1fr)', from: 860, cell: (h) => <BudgetCell kind={kind} id={h.id} /> },
    { id: 'enabled', head: words.enabled, width: '56px', cell: (h) => <span onClick={(e) => e.stopPropagation()}><Guard><Switch size="xs" checked={h.enabled} onChange={(e) => run([h], e.currentTarget.checked)} aria-label={`${words.enabled} ${nameOf(h)}`} /></Guard></span> },
    { id: 'act', head: <span className="hide">{words.actions}</span>, width: '30px', right: true, cell: (h) => <Guard><ActionIcon variant="subtle" color="red" size="sm" onClick={(e) => { e.stopPropagation(); onDelete(h); }} aria-label={`${words.delete} ${nameOf(h)}`}><IconTrash size={15} /></ActionIcon></Guard> },
  ];
  return (
    <Stack gap="sm">
      {all.length > 9 && <TextInput size="xs" placeholder={words.search} aria-label={words.search} leftSection={<IconSearch size={14} />} value={text} onChange={(e) => setText(e.currentTarget.value)} w={{ base: '100%', xs: 240 }} />}
      <Paper withBorder><VTable label={kind === 'org' ? words.orgs : words.users} rows={rows} columns={columns} rowKey={(h) => h.id} rowHeight={40} height="max(300px, calc(100dvh - 220px))" onOpen={onOpen} /></Paper>
      {dialog}
    </Stack>
  );
}

function useBelonging(kind: Kind, id: string) {
  const keys = useQuery(lists.keys);
  const users = useQuery(lists.users);
  const budgets = useQuery(lists.budgets);
  return {
    keys: (keys.data ?? []).filter((k) => k[kind] === id), users: kind === 'org' ? (users.data ?? []).filter((u) => u.org === id) : [],
    budgets: (budgets.data ?? []).filter((b) => b.scope === kind && b.subject === id),
  };
}

/** What loses it, and what goes with it. */
function After({ kind, h }: { kind: Kind; h: Holder }) {
  const words = useWords();
  const its = useBelonging(kind, h.id);
  return (
    <>
      <Text><b>{nameOf(h)}</b>: {words.deleteHolderHint}</Text>
      <Those title={words.keysGoOn} names={its.keys.map((k) => k.label || k.id)} />
      <Those title={words.usersGoOn} names={its.users.map(nameOf)} />
      <Those title={words.budgetsGo} names={its.budgets.map((b) => b.name)} />
    </>
  );
}

function Inside({ kind, h, onClose, onDelete }: { kind: Kind; h: Holder; onClose: () => void; onDelete: () => void }) {
  const { words, language } = useSpeech();
  const its = useBelonging(kind, h.id);
  const id = encodeURIComponent(h.id);
  return (
    <Stack gap="md">
      <div className="facts">
        <div><div className="fact-name">Id</div><div className="fact-value mono">{h.id}</div></div>
        {h.created_at && <div><div className="fact-name">{words.created}</div><div className="fact-value"><When iso={h.created_at} /></div></div>}
        <div><div className="fact-name">{words.keys}</div><div className="fact-value num">{count(h.keys, language)}</div></div>
        {kind === 'org' && <div><div className="fact-name">{words.users}</div><div className="fact-value num">{count(its.users.length, language)}</div></div>}
      </div>
      {(its.keys.length > 0 || its.users.length > 0) && (
        <Group gap="4px 12px">
          {its.keys.slice(0, 20).map((k) => <Link key={k.id} href={`/keys/${encodeURIComponent(k.id)}`} className="quiet">{k.label || k.id}</Link>)}
          {its.users.slice(0, 20).map((u) => <Link key={u.id} href={`/orgs/users?id=${encodeURIComponent(u.id)}`} className="quiet">{nameOf(u)}</Link>)}
          {Math.max(0, its.keys.length - 20) + Math.max(0, its.users.length - 20) > 0 && <Text size="xs" c="dimmed">…</Text>}
        </Group>
      )}
      <BudgetOf kind={kind} id={h.id} />
      <Group gap="xs">
        <Button size="xs" variant="default" component={Link} href={`/cost?${kind}=${id}&by=key`} leftSection={<IconCoin size={14} />}>{words.costs}</Button>
        <Button size="xs" variant="default" component={Link} href={`/cost/budgets?new&scope=${kind}&subject=${id}`} leftSection={<IconPigMoney size={14} />}>{words.addBudget}</Button>
        <Guard><Button size="xs" variant="light" color="red" leftSection={<IconTrash size={14} />} onClick={onDelete}>{words.delete}</Button></Guard>
      </Group>
      <Edited path={pathOf(kind, h.id)} seen={h}><Form kind={kind} old={h} onClose={onClose} /></Edited>
    </Stack>
  );
}

function Form({ kind, old, onClose }: { kind: Kind; old: Holder | null; onClose: () => void }) {
  const words = useWords();
  const orgs = useQuery(lists.orgs);
  const [name, setName] = useState(old?.name ?? '');
  const [id, setId] = useState('');
  const [org, setOrg] = useState(old?.org ?? '');
  const [limits, setLimits] = useState(() => limitDraft(old?.limits));
  const [enabled, setEnabled] = useState(old?.enabled ?? true);
  const save = useMutation({
    mutationFn: () => {
      const body = { name: name.trim(), enabled, limits: { ...old?.limits, ...limitsOf(limits) }, ...(kind === 'user' && { org }) };
      return old ? change(kind, old.id, body) : make(kind, { ...body, ...(id.trim() && { id: id.trim() }) });
    },
    onSuccess: (h) => { notifications.show({ message: `${words.saved}: ${nameOf(h)}`, color: 'teal' }); onClose(); },
  });
  return (
    <Guard isForm><form onSubmit={(e) => { e.preventDefault(); save.mutate(); }}>
      <Stack>
        <TextInput label={words.name} value={name} onChange={(e) => setName(e.currentTarget.value)} required data-autofocus={!old || undefined} />
        {kind === 'user' && <Select label={words.org} data={(orgs.data ?? []).map((o) => ({ value: o.id, label: nameOf(o) }))} value={org || null} onChange={(o) => setOrg(o ?? '')} placeholder={words.none} searchable clearable />}
        <Stack gap={6}><Text size="sm" fw={500}>{words.limits} <Text span size="xs" c="dimmed">{words.togetherHint}</Text></Text><LimitFields d={limits} put={setLimits} /></Stack>
        <Switch label={words.keysOpen} checked={enabled} onChange={(e) => setEnabled(e.currentTarget.checked)} />
        {!old && <Advanced isSet={false}><TextInput size="xs" label="Id" description={words.idHint} value={id} onChange={(e) => setId(e.currentTarget.value)} classNames={{ input: 'mono' }} /></Advanced>}
        {old && old.origin !== 'api' && <Text size="xs" c="dimmed">{words.stands}: <Origin from={old.origin} /></Text>}
        {save.error && <Failure error={save.error} overwrite={() => save.mutate()} />}
        <Group justify="flex-end" gap="xs"><Button variant="default" onClick={onClose}>{words.cancel}</Button><Button type="submit" loading={save.isPending} disabled={!name.trim()}>{old ? words.save : words.create}</Button></Group>
      </Stack>
    </form></Guard>
  );
}
