// What happened to this server and who may act on it: versions of the configuration, sessions, operators, the audit log.
import { Badge, Button, Code, Group, Paper, Stack, Table, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconHistory } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { api, take } from '../api/client';
import { lists } from '../api/lists';
import { useWords } from '../i18n';
import { Empty, Failure, Loaded, Origin, When } from '../parts/pieces';

function Grid({ head, children }: { head: string[]; children: ReactNode }) {
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
  const back = useMutation({
    mutationFn: (id: number) => take(api.POST('/sluice/v1/config/versions/{id}/rollback', { params: { path: { id: String(id) } } })),
    onSuccess: () => notifications.show({ message: words.rolledBack, color: 'teal' }),
  });
  return (
    <Stack>
      {back.error && <Failure error={back.error} />}
      <Loaded query={versions}>
        {(all) => all.length === 0 ? <Empty icon={<IconHistory size={40} />} title={words.none} hint="" /> : (
          <Grid head={['#', words.time, words.who, words.what, '']}>
            {all.map((v) => [
              <Table.Tr key={v.id}>
                <Table.Td>{v.id}</Table.Td>
                <Table.Td><When iso={v.at} /></Table.Td>
                <Table.Td><Text size="sm">{v.actor}</Text></Table.Td>
                <Table.Td><Text size="sm">{v.what}</Text></Table.Td>
                <Table.Td>
                  <Group gap={6} justify="flex-end">
                    <Button size="compact-xs" variant="default" onClick={() => setShown(shown === v.id ? null : v.id)} aria-expanded={shown === v.id}>{words.show}</Button>
                    {v.is_current ? <Badge variant="light" color="teal" tt="none">{words.current}</Badge>
                      : <Button size="compact-xs" variant="light" loading={back.isPending && back.variables === v.id} onClick={() => back.mutate(v.id)}>{words.rollback}</Button>}
                  </Group>
                </Table.Td>
              </Table.Tr>,
              shown === v.id && <Table.Tr key={`${v.id} changes`}><Table.Td colSpan={5}><Changes id={v.id} /></Table.Td></Table.Tr>,
            ])}
          </Grid>
        )}
      </Loaded>
    </Stack>
  );
}

function Changes({ id }: { id: number }) {
  const words = useWords();
  const version = useQuery({
    queryKey: ['version', id], queryFn: () => take(api.GET('/sluice/v1/config/versions/{id}', { params: { path: { id: String(id) } } })),
  });
  return (
    <Loaded query={version}>
      {(v) => {
        const changes = (v.changes ?? []) as Change[];
        return changes.length === 0 ? <Text size="sm" c="dimmed">{words.noChanges}</Text> : (
          <Stack gap="xs">
            {changes.map((c) => (
              <div key={`${c.kind} ${c.name}`}>
                <Text size="sm" fw={600}>{c.kind} <span className="mono">{c.name}</span></Text>
                {c.before !== undefined && c.before !== null && <Code block fz="xs" c="var(--mantine-color-error)">− {JSON.stringify(c.before)}</Code>}
                {c.after !== undefined && c.after !== null && <Code block fz="xs">+ {JSON.stringify(c.after)}</Code>}
              </div>
            ))}
          </Stack>
        );
      }}
    </Loaded>
  );
}

export function Sessions() {
  const words = useWords();
  const sessions = useQuery(lists.sessions);
  const end = useMutation({ mutationFn: (id: string) => take(api.DELETE('/sluice/v1/sessions/{id}', { params: { path: { id } } })) });
  return (
    <Stack>
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

export function Operators() {
  const words = useWords();
  return (
    <Loaded query={useQuery(lists.operators)}>
      {(all) => (
        <Grid head={[words.name, words.role, words.enabled, words.created]}>
          {all.map((o) => (
            <Table.Tr key={o.id}>
              <Table.Td><Group gap={8}><Text size="sm" fw={600}>{o.name}</Text><Origin from={o.origin} /></Group></Table.Td>
              <Table.Td><Badge variant="light" tt="none">{o.role}</Badge></Table.Td>
              <Table.Td><Text size="sm">{o.can_sign_in ? words.enabled : words.disabled}</Text></Table.Td>
              <Table.Td><When iso={o.created_at} /></Table.Td>
            </Table.Tr>
          ))}
        </Grid>
      )}
    </Loaded>
  );
}

export function Audit() {
  const words = useWords();
  return (
    <Loaded query={useQuery(lists.audit)}>
      {(all) => (
        <Grid head={[words.time, words.who, words.address, words.what, words.object, words.outcome]}>
          {all.map((a) => (
            <Table.Tr key={a.id}>
              <Table.Td><When iso={a.at} /></Table.Td>
              <Table.Td><Text size="sm">{a.actor || a.actor_id || a.actor_kind}</Text></Table.Td>
              <Table.Td><Text size="sm" className="mono">{a.address}</Text></Table.Td>
              <Table.Td><Text size="xs" className="mono">{a.method} {a.path}</Text></Table.Td>
              <Table.Td><Text size="sm">{[a.kind, a.object].filter(Boolean).join(' ')}</Text></Table.Td>
              <Table.Td><Badge variant="light" color={a.status < 400 ? 'teal' : 'orange'} tt="none">{a.outcome || a.status}</Badge></Table.Td>
            </Table.Tr>
          ))}
        </Grid>
      )}
    </Loaded>
  );
}
