// Outbound proxies that have a name: who goes through each, and whether the way out works.
import { ActionIcon, Button, Group, MultiSelect, Paper, SimpleGrid, Stack, Text, Textarea, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconPlayerPlay, IconPlus, IconRoute2, IconWorldUp } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Link, useSearchParams } from 'wouter';
import { api, take } from '../api/client';
import { lists } from '../api/lists';
import { objects, type Proxy } from '../api/objects';
import { useWords } from '../i18n';
import { Those } from '../parts/consequences';
import { Confirm } from '../parts/dialogs';
import { Edited } from '../parts/edited';
import { span } from '../parts/format';
import { Empty, Failure, Loaded, Origin } from '../parts/pieces';
import { Guard } from '../parts/guard';
import { Side } from '../parts/side';

const pathOf = (name: string) => `/sluice/v1/proxies/${encodeURIComponent(name)}`;

function useTest(p: Proxy) {
  const words = useWords();
  return useMutation({
    mutationFn: async () => {
      const r = await take(api.POST('/api/settings/proxy/test', { body: { proxyId: p.id } }));
      if (!r.success) throw new Error(r.error ?? '');
      return r;
    },
    onSuccess: (r) => notifications.show({ title: `${p.name}: ${words.answered} ${span(r.latencyMs * 1000)}`, message: r.publicIp ? `${words.seenAs} ${r.publicIp}` : r.proxyUrl, color: 'teal' }),
    onError: (e) => notifications.show({ title: `${p.name}: ${words.noWayOut}`, message: e.message, color: 'red' }),
  });
}

export function Proxies() {
  const words = useWords();
  const proxies = useQuery(objects.proxies);
  const [search, setSearch] = useSearchParams();
  const edited = search.has('new') ? '' : search.get('proxy'); // a name, or '' for a new one
  const setEdited = (name: string | null) => setSearch(name === null ? {} : name === '' ? { new: '' } : { proxy: name });
  const open = edited ? proxies.data?.find((p) => p.name === edited) : undefined;
  const add = <Guard><Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => setEdited('')}>{words.addProxy}</Button></Guard>;
  return (
    <Stack gap="sm">
      <Group justify="space-between"><Text size="sm" c="dimmed" flex={1} miw={220}>{words.proxiesHint}</Text>{proxies.data?.length !== 0 && add}</Group>
      <Loaded query={proxies}>
        {(all) => all.length === 0 ? <Paper withBorder><Empty icon={<IconRoute2 size={36} />} title={words.noProxies} hint={words.noProxiesHint} action={add} /></Paper>
          : <Paper withBorder component="ul" className="rows" aria-label={words.proxies}>{all.map((p) => <li key={p.name} className="row-line"><Row p={p} onOpen={() => setEdited(p.name)} /></li>)}</Paper>}
      </Loaded>
      <WayOut />
      <Side size="min(560px, 100%)" opened={edited === '' || open !== undefined} onClose={() => setEdited(null)} title={open ? open.name : words.addProxy}>
        {open ? <Edited key={open.name} path={pathOf(open.name)} seen={open}><Form old={open} onClose={() => setEdited(null)} /></Edited> : edited === '' && <Form old={null} onClose={() => setEdited(null)} />}
      </Side>
    </Stack>
  );
}

/** Everybody, or those that are named. */
function Through({ p }: { p: Proxy }) {
  const words = useWords();
  if (!p.is_global && p.providers.length === 0) return <Text span size="xs" c="dimmed">{words.nobodyThrough}</Text>;
  return <>{p.is_global && <span className="hop">{words.everythingThrough}</span>}{p.providers.map((n) => <span key={n} className="hop"><span className="ell">{n}</span></span>)}</>;
}

function Row({ p, onOpen }: { p: Proxy; onOpen: () => void }) {
  const words = useWords();
  const test = useTest(p);
  return (
    <>
      <button type="button" className="row-button" onClick={onOpen} aria-label={p.name}>
        <span className="row-name"><b>{p.name}</b>{p.region && <span className="tag">{p.region}</span>}<Origin from={p.origin} /><Text size="xs" c="dimmed" className="mono ell" title={p.url}>{p.url}</Text></span>
        <span className="flow" style={{ alignItems: 'center' }}>{(p.is_global || p.providers.length > 0) && <span className="dim">{words.whoGoesThrough}:</span>}<Through p={p} /></span>
      </button>
      <ActionIcon variant="subtle" size="sm" loading={test.isPending} onClick={() => test.mutate()} aria-label={`${words.test} ${p.name}`} title={words.test}><IconPlayerPlay size={15} /></ActionIcon>
    </>
  );
}

function Form({ old, onClose }: { old: Proxy | null; onClose: () => void }) {
  const words = useWords();
  const kinds = useQuery(lists.kinds);
  const proxies = useQuery(objects.proxies);
  const [name, setName] = useState(old?.name ?? '');
  const [url, setUrl] = useState(old?.url ?? '');
  const [region, setRegion] = useState(old?.region ?? '');
  const [notes, setNotes] = useState(old?.notes ?? '');
  const [of, setOf] = useState<string[]>(old?.kinds ?? []);
  const [isDoomed, setDoomed] = useState(false);
  const isTaken = !old && proxies.data?.some((p) => p.name === name.trim()) === true; // to be made is no reason to replace one
  const save = useMutation({
    mutationFn: () => take(api.PUT('/sluice/v1/proxies/{name}', { params: { path: { name: old?.name ?? name.trim() } }, body: { ...(old?.id && { id: old.id }), url: url.trim(), ...(region.trim() && { region: region.trim() }), ...(notes.trim() && { notes: notes.trim() }), ...(of.length > 0 && { kinds: of }) } })),
    onSuccess: () => { notifications.show({ message: `${words.saved}: ${name.trim()}`, color: 'teal' }); onClose(); },
  });
  const remove = useMutation({ mutationFn: () => take(api.DELETE('/sluice/v1/proxies/{name}', { params: { path: { name: old?.name ?? '' } } })), onSuccess: () => { setDoomed(false); onClose(); } });
  return (
    <Guard isForm><form onSubmit={(e) => { e.preventDefault(); save.mutate(); }}>
      <Stack>
        <TextInput label={words.name} value={name} onChange={(e) => setName(e.currentTarget.value)} required disabled={old !== null} error={isTaken ? words.nameTaken : undefined} description={words.proxyNameHint} data-autofocus={!old || undefined} />
        <TextInput label={words.address} value={url} onChange={(e) => setUrl(e.currentTarget.value)} required placeholder="socks5h://name:password@proxy.example:1080" classNames={{ input: 'mono' }} description={words.proxyUrlHint} autoComplete="off" />
        <MultiSelect label={words.proxyKinds} description={words.proxyKindsHint} data={[...new Set([...(kinds.data ?? []).map((k) => k.id), ...of])]} value={of} onChange={setOf} searchable limit={40} />
        <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm">
          <TextInput label={words.region} value={region} onChange={(e) => setRegion(e.currentTarget.value)} maxLength={64} />
          <Textarea label={words.note} value={notes} onChange={(e) => setNotes(e.currentTarget.value)} maxLength={1000} autosize maxRows={6} />
        </SimpleGrid>
        {old && (
          <Stack gap={6}>
            <Text size="sm" fw={500}>{words.whoGoesThrough}</Text>
            <Group gap={6}><Through p={old} /></Group>
            <Group gap="4px 14px">
              {old.providers.map((n) => <Link key={n} href={`/providers/${encodeURIComponent(n)}`} className="quiet">{n}</Link>)}
              <Link href="/settings?q=proxy" className="quiet">{words.setting}: proxy</Link>
            </Group>
          </Stack>
        )}
        {old && old.origin !== 'api' && <Text size="xs" c="dimmed">{words.stands}: <Origin from={old.origin} /></Text>}
        {save.error && <Failure error={save.error} overwrite={() => save.mutate()} />}
        <Group justify="space-between">
          {old ? <Button variant="subtle" color="red" onClick={() => setDoomed(true)}>{words.delete}</Button> : <span />}
          <Group gap="xs"><Button variant="default" onClick={onClose}>{words.cancel}</Button><Button type="submit" loading={save.isPending} disabled={!name.trim() || !url.trim() || isTaken}>{old ? words.save : words.create}</Button></Group>
        </Group>
      </Stack>
      <Confirm title={words.deleteProxy} opened={isDoomed} busy={remove.isPending} error={remove.error} onClose={() => { setDoomed(false); remove.reset(); }} onDo={() => remove.mutate()}>
        <Text><b>{old?.name}</b>: {words.deleteProxyHint}</Text>
        {old && <Those title={words.whoGoesThrough} names={[...(old.is_global ? [`${words.setting}: proxy`] : []), ...old.providers]} />}
      </Confirm>
    </form></Guard>
  );
}

/** Asks outside, through the proxy that everything goes through, if there is one. */
function WayOut() {
  const words = useWords();
  const look = useMutation({ mutationFn: async () => ({ ...(await take(api.GET('/admin/api/diagnostics/network'))), own: (await take(api.GET('/admin/api/diagnostics/host-ip'))).addresses }) });
  const r = look.data;
  const failed = (why: string | undefined) => (why?.startsWith('switched off') ? <Link href="/settings?q=diagnostics" className="quiet">{words.notSetUp}</Link> : <span style={{ color: 'var(--warn-text)' }}>{why}</span>);
  return (
    <Paper withBorder component="section" aria-label={words.wayOut} p="md">
      <Group justify="space-between" gap="sm">
        <div style={{ flex: '1 1 220px', minWidth: 0 }}><Text fw={600} size="sm">{words.wayOut}</Text><Text size="sm" c="dimmed">{words.wayOutHint}</Text></div>
        <Button size="xs" variant="default" leftSection={<IconWorldUp size={14} />} loading={look.isPending} onClick={() => look.mutate()}>{words.tryWayOut}</Button>
      </Group>
      {look.error && <Failure error={look.error} retry={() => look.mutate()} />}
      {r && (
        <div className="facts" style={{ marginTop: 12 }}>
          <div><div className="fact-name">{words.proxy}</div><div className="fact-value mono">{r.proxy || words.none}</div></div>
          <div><div className="fact-name">{words.seenAs}</div><div className="fact-value">{r.ip.ok ? <><span className="mono">{r.ip.ip}</span> {[r.ip.city, r.ip.country, r.ip.isp].filter(Boolean).join(', ')}</> : failed(r.ip.error)}</div></div>
          <div><div className="fact-name">{words.reachable}</div><div className="fact-value">{r.google.ok ? <span className="status" data-is="fine">{words.ok}</span> : failed(r.google.error ?? `HTTP ${r.google.status ?? ''}`)}</div></div>
          <div><div className="fact-name">{words.ownAddresses}</div><div className="fact-value mono">{r.own.join(' ') || '–'}</div></div>
        </div>
      )}
    </Paper>
  );
}
