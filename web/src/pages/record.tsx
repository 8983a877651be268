// What happened to this server and who acts on it: versions of the configuration, sessions, the audit log.
import { Button, Group, Paper, SegmentedControl, Select, Stack, Table, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconHistory, IconX } from '@tabler/icons-react';
import { useInfiniteQuery, useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useSearchParams } from 'wouter';
import { api, take } from '../api/client';
import { useNames } from '../api/costs';
import { lists } from '../api/lists';
import { useWords } from '../i18n';
import { Confirm } from '../parts/dialogs';
import { actorWords, changedWords, local } from '../parts/format';
import { Grid } from '../parts/grid';
import { Guard } from '../parts/guard';
import { Empty, Failure, Loaded, Stamp, When } from '../parts/pieces';

interface Change { kind: string; name: string; before?: unknown; after?: unknown }

/** What the address filters a journal by; a change of it stands there at once. */
function useFilter(names: readonly string[]) {
  const [search, setSearch] = useSearchParams();
  const [turn, setTurn] = useState(0); // fields begin anew when they are cleared
  const put = (name: string, value: string) => setSearch((old) => { const next = new URLSearchParams(old); if (value) next.set(name, value); else next.delete(name); return next; }, { replace: true });
  return { filter: Object.fromEntries(names.flatMap((f) => (search.get(f) ? [[f, search.get(f) ?? '']] : []))) as Record<string, string>, put, turn, clear: () => { setSearch(new URLSearchParams(), { replace: true }); setTurn((n) => n + 1); } };
}
type Filtered = ReturnType<typeof useFilter>;

/** From when, until when, in which order. */
function TimeAndOrder({ filter, put, clear, turn }: Filtered) {
  const words = useWords();
  const time = (name: 'since' | 'until', label: string) => (
    <TextInput key={`${name} ${turn}`} size="xs" type="datetime-local" leftSection={<Text size="xs" c="dimmed">{label}</Text>} leftSectionWidth={46} aria-label={label} defaultValue={local(filter[name] ?? '')}
      onChange={(e) => put(name, e.currentTarget.value ? new Date(e.currentTarget.value).toISOString() : '')} w={{ base: '100%', xs: 226 }} />
  );
  return (
    <>
      {time('since', words.from)}{time('until', words.until)}
      <Select size="xs" aria-label={words.order} value={filter.sort ?? '-at'} onChange={(v) => put('sort', v === 'at' ? 'at' : '')} allowDeselect={false} data={[{ value: '-at', label: words.newestFirst }, { value: 'at', label: words.oldestFirst }]} w={{ base: '100%', xs: 150 }} />
      {Object.keys(filter).length > 0 && <Button size="xs" variant="subtle" color="gray" leftSection={<IconX size={14} />} onClick={clear}>{words.clear}</Button>}
    </>
  );
}

export function History() {
  const words = useWords();
  const nameOf = useNames();
  const filtered = useFilter(['actor', 'since', 'until', 'sort']);
  const { filter, put } = filtered;
  const latest = useQuery(lists.versions);
  const pages = useInfiniteQuery({
    queryKey: ['versions', filter],
    queryFn: ({ pageParam }) => take(api.GET('/sluice/v1/config/versions', { params: { query: { limit: 100, ...filter, ...(pageParam !== null && { after: Number(pageParam) }) } } })),
    initialPageParam: null as string | null, getNextPageParam: (last) => (last.has_more ? last.next : null),
  });
  const [shown, setShown] = useState<number | null>(null);
  const [chosen, setChosen] = useState<number | null>(null);
  const rows = pages.data?.pages.flatMap((p) => p.data) ?? [];
  const current = [...(latest.data ?? []), ...rows].find((v) => v.is_current)?.id ?? 0;
  const actors = [...new Set([...(latest.data ?? []), ...rows].map((v) => v.actor).concat(filter.actor ?? []))].filter(Boolean);
  const called = (actor: string) => actorWords(words, actor, (id) => nameOf('key', id));
  const back = useMutation({
    mutationFn: (id: number) => take(api.POST('/sluice/v1/config/versions/{id}/rollback', { params: { path: { id: String(id) } } })),
    onSuccess: () => { setChosen(null); notifications.show({ message: words.rolledBack, color: 'teal' }); },
  });
  return (
    <Stack gap="sm">
      <Group gap={8}>
        <Select size="xs" placeholder={words.who} aria-label={words.who} data={actors.map((a) => ({ value: a, label: called(a) }))} value={filter.actor ?? null} onChange={(v) => put('actor', v ?? '')} clearable searchable w={{ base: '100%', xs: 170 }} />
        <TimeAndOrder {...filtered} />
      </Group>
      {pages.error ? <Failure error={pages.error} retry={() => void pages.refetch()} /> : pages.data && (rows.length === 0 ? <Paper withBorder><Empty icon={<IconHistory size={40} />} title={words.noMatch} hint="" /></Paper> : (
        <Grid from={700} head={['#', words.time, words.who, words.what, '']}>
          {rows.map((v) => [
            <Table.Tr key={v.id}>
              <Table.Td className="num">{v.id}</Table.Td>
              <Table.Td><Stamp iso={v.at} /></Table.Td>
              <Table.Td title={v.actor}>{called(v.actor)}</Table.Td>
              <Table.Td>{changedWords(words, v.what)}</Table.Td>
              <Table.Td>
                <Group gap={6} justify="flex-end" wrap="nowrap">
                  <Button size="compact-xs" variant="default" onClick={() => setShown(shown === v.id ? null : v.id)} aria-expanded={shown === v.id}>{words.show}</Button>
                  {v.is_current ? <span className="status" data-is="fine">{words.current}</span>
                    : <Guard><Button size="compact-xs" variant="light" onClick={() => setChosen(v.id)}>{words.rollback}</Button></Guard>}
                </Group>
              </Table.Td>
            </Table.Tr>,
            shown === v.id && <Table.Tr key={`${v.id} changes`}><Table.Td colSpan={5}><Version id={v.id} current={current} /></Table.Td></Table.Tr>,
          ])}
        </Grid>
      ))}
      {pages.hasNextPage && <Button size="xs" variant="default" loading={pages.isFetchingNextPage} onClick={() => void pages.fetchNextPage()} style={{ alignSelf: 'center' }}>{filter.sort === 'at' ? words.newer : words.older}</Button>}
      <Confirm title={`${words.rollback}: #${chosen ?? ''}`} opened={chosen !== null} busy={back.isPending} error={back.error} onClose={() => setChosen(null)} onDo={() => chosen !== null && back.mutate(chosen)} word={words.rollback}>
        <Text size="sm">{words.rollbackHint}</Text>
        {chosen !== null && <div className="vt" style={{ maxHeight: '45vh' }} tabIndex={0} role="region" aria-label={words.show}><Between from={current} to={chosen} /></div>}
      </Confirm>
    </Stack>
  );
}

/** What a version changed, or how it differs from what is in force now. */
function Version({ id, current }: { id: number; current: number }) {
  const words = useWords();
  const [against, setAgainst] = useState('before');
  const version = useQuery({ queryKey: ['version', id], queryFn: () => take(api.GET('/sluice/v1/config/versions/{id}', { params: { path: { id: String(id) } } })) });
  return (
    <Stack gap="xs">
      {id !== current && <SegmentedControl size="xs" style={{ alignSelf: 'flex-start' }} value={against} onChange={setAgainst} data={[{ value: 'before', label: words.whatItChanged }, { value: 'now', label: words.toNow }]} />}
      {against === 'now' ? <Between from={id} to={current} /> : <Loaded query={version}>{(v) => <Changes changes={(v.changes ?? []) as Change[]} />}</Loaded>}
    </Stack>
  );
}

function Between({ from, to }: { from: number; to: number }) {
  const diff = useQuery({
    queryKey: ['diff', from, to], queryFn: () => take(api.GET('/sluice/v1/config/versions/{id}/diff', { params: { path: { id: String(to) }, query: { against: from } } })),
  });
  return <Loaded query={diff}>{(d) => <Changes changes={(d.changes ?? []) as Change[]} />}</Loaded>;
}

/** Every value that differs, by its place in the object. */
function leaves(value: unknown, path: string, out: Map<string, string>): Map<string, string> {
  if (value !== null && typeof value === 'object' && Object.keys(value).length > 0) for (const [k, v] of Object.entries(value)) leaves(v, Array.isArray(value) ? `${path}[${k}]` : path ? `${path}.${k}` : k, out);
  else if (value !== undefined) out.set(path, JSON.stringify(value));
  return out;
}

export function Changes({ changes }: { changes: Change[] }) {
  const words = useWords();
  if (changes.length === 0) return <Text size="sm" c="dimmed">{words.noChanges}</Text>;
  return (
    <Stack gap="sm">
      {changes.map((c) => {
        const before = leaves(c.before ?? undefined, '', new Map());
        const after = leaves(c.after ?? undefined, '', new Map());
        const paths = [...new Set([...before.keys(), ...after.keys()])].filter((p) => before.get(p) !== after.get(p));
        return (
          <div key={`${c.kind} ${c.name}`}>
            <Text size="sm" fw={600} mb={2}>{c.kind} <span className="mono">{c.name}</span>{before.size === 0 && <span className="tag" style={{ marginLeft: 6 }}>{words.fate_added}</span>}{after.size === 0 && <span className="tag" style={{ marginLeft: 6 }}>{words.removed}</span>}</Text>
            <div className="lines">
              {paths.map((p) => (
                <div key={p} className="line" data-is={!after.has(p) ? 'dropped' : !before.has(p) ? 'added' : 'mapped'}>{p && `${p}: `}{before.has(p) && <del>{before.get(p)}</del>}{before.has(p) && after.has(p) && ' → '}{after.get(p)}</div>
              ))}
            </div>
          </div>
        );
      })}
    </Stack>
  );
}

export function Sessions() {
  const words = useWords();
  const sessions = useQuery(lists.sessions);
  const end = useMutation({ mutationFn: (id: string) => take(api.DELETE('/sluice/v1/sessions/{id}', { params: { path: { id } } })) });
  const others = useMutation({ mutationFn: () => take(api.DELETE('/sluice/v1/sessions', { params: { query: { keep_current: true } } })), onSuccess: (r) => notifications.show({ message: `${words.ended}: ${r.revoked}`, color: 'teal' }) });
  return (
    <Stack>
      {(sessions.data?.filter((s) => !s.is_current).length ?? 0) > 0 && <Group justify="flex-end"><Button size="xs" variant="default" loading={others.isPending} onClick={() => others.mutate()}>{words.endOthers}</Button></Group>}
      {others.error && <Failure error={others.error} />}
      {end.error && <Failure error={end.error} />}
      <Loaded query={sessions}>
        {(all) => (
          <Grid head={[words.name, words.address, words.created, words.lastSeen, words.expires, '']}>
            {all.map((s) => (
              <Table.Tr key={s.id}>
                <Table.Td><Text size="sm">{s.operator}</Text><Text size="xs" c="dimmed" lineClamp={1}>{s.user_agent}</Text></Table.Td>
                <Table.Td><Text size="sm" className="mono">{s.address}</Text></Table.Td>
                <Table.Td><Stamp iso={s.created_at} /></Table.Td><Table.Td><When iso={s.seen_at} /></Table.Td><Table.Td><When iso={s.expires_at} /></Table.Td>
                <Table.Td ta="right">
                  {s.is_current ? <span className="tag">{words.thisOne}</span>
                    : <Button size="compact-xs" color="red" variant="light" onClick={() => end.mutate(s.id)} aria-label={`${words.revoke} ${s.operator} ${s.address}`}>{words.revoke}</Button>}
                </Table.Td>
              </Table.Tr>
            ))}
          </Grid>
        )}
      </Loaded>
    </Stack>
  );
}

export function Audit() {
  const words = useWords();
  const [shown, setShown] = useState<number | null>(null);
  const filtered = useFilter(['actor', 'kind', 'object', 'outcome', 'since', 'until', 'sort']);
  const { filter, put } = filtered;
  const pages = useInfiniteQuery({
    queryKey: ['audit', filter],
    queryFn: ({ pageParam }) => take(api.GET('/sluice/v1/audit', { params: { query: { limit: 100, ...filter, ...(pageParam !== null && { after: Number(pageParam) }) } } })),
    initialPageParam: null as string | null, getNextPageParam: (last) => (last.has_more ? last.next : null),
  });
  const rows = pages.data?.pages.flatMap((p) => p.data) ?? [];
  const field = (name: string, label: string) => <TextInput key={`${name} ${filtered.turn}`} size="xs" placeholder={label} aria-label={label} defaultValue={filter[name] ?? ''} onBlur={(e) => put(name, e.currentTarget.value.trim())} onKeyDown={(e) => { if (e.key === 'Enter') put(name, e.currentTarget.value.trim()); }} w={{ base: '48%', xs: 130 }} />;
  return (
    <Stack gap="sm">
      <Group gap={8}>
        {field('actor', words.who)}{field('kind', words.kind)}{field('object', words.object)}{field('outcome', words.outcome)}
        <TimeAndOrder {...filtered} />
      </Group>
      {pages.error ? <Failure error={pages.error} retry={() => void pages.refetch()} /> : pages.data && (rows.length === 0 ? <Paper withBorder><Empty icon={<IconHistory size={30} />} title={words.noMatch} hint="" /></Paper> : (
        <Grid from={840} head={[words.time, words.who, words.address, words.what, words.object, words.outcome, '']}>
          {rows.map((a) => {
            const has = (a.before ?? null) !== null || (a.after ?? null) !== null;
            return [
              <Table.Tr key={a.id}>
                <Table.Td><Stamp iso={a.at} /></Table.Td>
                <Table.Td><Text size="sm">{a.actor || a.actor_id || a.actor_kind}</Text></Table.Td>
                <Table.Td>{a.address && <span className="mono">{a.address}</span>}</Table.Td>
                <Table.Td>{a.path && <Text size="xs" className="mono">{a.method} {a.path}</Text>}</Table.Td>
                <Table.Td><Text size="sm">{[a.kind, a.object].filter(Boolean).join(' ')}</Text></Table.Td>
                <Table.Td><span className="status" data-is={a.status < 400 ? 'fine' : 'warn'}>{a.outcome || a.status}</span></Table.Td>
                <Table.Td ta="right">{has && <Button size="compact-xs" variant="default" onClick={() => setShown(shown === a.id ? null : a.id)} aria-expanded={shown === a.id} aria-label={`${words.show} ${a.id}`}>{words.show}</Button>}</Table.Td>
              </Table.Tr>,
              shown === a.id && <Table.Tr key={`${a.id} changes`}><Table.Td colSpan={7}><Changes changes={[{ kind: a.kind, name: a.object, before: a.before ?? undefined, after: a.after ?? undefined }]} /></Table.Td></Table.Tr>,
            ];
          })}
        </Grid>
      ))}
      {pages.hasNextPage && <Button size="xs" variant="default" loading={pages.isFetchingNextPage} onClick={() => void pages.fetchNextPage()} style={{ alignSelf: 'center' }}>{filter.sort === 'at' ? words.newer : words.older}</Button>}
    </Stack>
  );
}
