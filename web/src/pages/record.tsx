// What happened to this server and who acts on it: versions of the configuration, sessions, the audit log.
import { Badge, Button, Group, Paper, SegmentedControl, Stack, Table, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconHistory } from '@tabler/icons-react';
import { useInfiniteQuery, useMutation, useQuery } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { useSearchParams } from 'wouter';
import { api, take } from '../api/client';
import { lists } from '../api/lists';
import { useWords } from '../i18n';
import { Confirm } from '../parts/dialogs';
import { changedWords, said } from '../parts/format';
import { Guard } from '../parts/guard';
import { Empty, Failure, Loaded, When } from '../parts/pieces';

export function Grid({ head, children }: { head: string[]; children: ReactNode }) {
  return (
    <Paper withBorder>
      <Table.ScrollContainer minWidth={680}>
        <Table verticalSpacing="xs">
          <Table.Thead><Table.Tr>{head.map((h, i) => <Table.Th key={h || i}>{h}</Table.Th>)}</Table.Tr></Table.Thead>
          <Table.Tbody>{children}</Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Paper>
  );
}

interface Change { kind: string; name: string; before?: unknown; after?: unknown }

export function History() {
  const words = useWords();
  const versions = useQuery(lists.versions);
  const [shown, setShown] = useState<number | null>(null);
  const [chosen, setChosen] = useState<number | null>(null);
  const current = versions.data?.find((v) => v.is_current)?.id ?? 0;
  const back = useMutation({
    mutationFn: (id: number) => take(api.POST('/sluice/v1/config/versions/{id}/rollback', { params: { path: { id: String(id) } } })),
    onSuccess: () => { setChosen(null); notifications.show({ message: words.rolledBack, color: 'teal' }); },
  });
  return (
    <Stack>
      <Loaded query={versions}>
        {(all) => all.length === 0 ? <Empty icon={<IconHistory size={40} />} title={words.none} hint="" /> : (
          <Grid head={['#', words.time, words.who, words.what, '']}>
            {all.map((v) => [
              <Table.Tr key={v.id}>
                <Table.Td>{v.id}</Table.Td>
                <Table.Td><When iso={v.at} /></Table.Td>
                <Table.Td><Text size="sm">{said(words, 'actor', v.actor)}</Text></Table.Td>
                <Table.Td><Text size="sm">{changedWords(words, v.what)}</Text></Table.Td>
                <Table.Td>
                  <Group gap={6} justify="flex-end">
                    <Button size="compact-xs" variant="default" onClick={() => setShown(shown === v.id ? null : v.id)} aria-expanded={shown === v.id}>{words.show}</Button>
                    {v.is_current ? <Badge variant="light" color="teal" tt="none">{words.current}</Badge>
                      : <Guard><Button size="compact-xs" variant="light" onClick={() => setChosen(v.id)}>{words.rollback}</Button></Guard>}
                  </Group>
                </Table.Td>
              </Table.Tr>,
              shown === v.id && <Table.Tr key={`${v.id} changes`}><Table.Td colSpan={5}><Version id={v.id} current={current} /></Table.Td></Table.Tr>,
            ])}
          </Grid>
        )}
      </Loaded>
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
                <Table.Td><When iso={s.created_at} /></Table.Td><Table.Td><When iso={s.seen_at} /></Table.Td><Table.Td><When iso={s.expires_at} /></Table.Td>
                <Table.Td ta="right">
                  {s.is_current ? <Badge variant="light" tt="none">{words.thisOne}</Badge>
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
  const [search, setSearch] = useSearchParams();
  const [shown, setShown] = useState<number | null>(null);
  const put = (name: string, value: string) => setSearch((old) => { const next = new URLSearchParams(old); if (value) next.set(name, value); else next.delete(name); return next; }, { replace: true });
  const filter = Object.fromEntries(['actor', 'kind', 'object', 'outcome'].flatMap((f) => (search.get(f) ? [[f, search.get(f) ?? '']] : [])));
  const pages = useInfiniteQuery({
    queryKey: ['audit', filter],
    queryFn: ({ pageParam }) => take(api.GET('/sluice/v1/audit', { params: { query: { limit: 100, ...filter, ...(pageParam !== null && { after: Number(pageParam) }) } } })),
    initialPageParam: null as string | null, getNextPageParam: (last) => (last.has_more ? last.next : null),
  });
  const rows = pages.data?.pages.flatMap((p) => p.data) ?? [];
  const field = (name: string, label: string) => <TextInput size="xs" placeholder={label} aria-label={label} defaultValue={search.get(name) ?? ''} onBlur={(e) => put(name, e.currentTarget.value.trim())} onKeyDown={(e) => { if (e.key === 'Enter') put(name, e.currentTarget.value.trim()); }} w={{ base: '48%', xs: 150 }} />;
  return (
    <Stack gap="sm">
      <Group gap={8}>
        {field('actor', words.who)}{field('kind', words.kind)}{field('object', words.object)}{field('outcome', words.outcome)}
      </Group>
      {pages.error ? <Failure error={pages.error} retry={() => void pages.refetch()} /> : pages.data && (rows.length === 0 ? <Paper withBorder><Empty icon={<IconHistory size={30} />} title={words.noMatch} hint="" /></Paper> : (
        <Grid head={[words.time, words.who, words.address, words.what, words.object, words.outcome, '']}>
          {rows.map((a) => {
            const has = (a.before ?? null) !== null || (a.after ?? null) !== null;
            return [
              <Table.Tr key={a.id}>
                <Table.Td><When iso={a.at} /></Table.Td>
                <Table.Td><Text size="sm">{a.actor || a.actor_id || a.actor_kind}</Text></Table.Td>
                <Table.Td><Text size="sm" className="mono">{a.address}</Text></Table.Td>
                <Table.Td><Text size="xs" className="mono">{a.method} {a.path}</Text></Table.Td>
                <Table.Td><Text size="sm">{[a.kind, a.object].filter(Boolean).join(' ')}</Text></Table.Td>
                <Table.Td><Badge variant="light" color={a.status < 400 ? 'teal' : 'orange'} tt="none">{a.outcome || a.status}</Badge></Table.Td>
                <Table.Td ta="right">{has && <Button size="compact-xs" variant="default" onClick={() => setShown(shown === a.id ? null : a.id)} aria-expanded={shown === a.id} aria-label={`${words.show} ${a.id}`}>{words.show}</Button>}</Table.Td>
              </Table.Tr>,
              shown === a.id && <Table.Tr key={`${a.id} changes`}><Table.Td colSpan={7}><Changes changes={[{ kind: a.kind, name: a.object, before: a.before ?? undefined, after: a.after ?? undefined }]} /></Table.Td></Table.Tr>,
            ];
          })}
        </Grid>
      ))}
      {pages.hasNextPage && <Button size="xs" variant="default" loading={pages.isFetchingNextPage} onClick={() => void pages.fetchNextPage()} style={{ alignSelf: 'center' }}>{words.older}</Button>}
    </Stack>
  );
}
