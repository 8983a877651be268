// What is wrong first, then what happens.
import { ActionIcon, Alert, Badge, Button, Card, Group, Paper, SimpleGrid, Stack, Table, Text, Tooltip } from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck, IconListDetails, IconPlayerStop } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { Link, useLocation } from 'wouter';
import { api, apiUrl, take } from '../api/client';
import { lists } from '../api/lists';
import { latest, type LoggedRequest } from '../api/requests';
import { useSpeech, useWords } from '../i18n';
import { Bars } from '../parts/bars';
import { count, median, span } from '../parts/format';
import { Empty, Loaded, Page } from '../parts/pieces';
import { RequestTable } from './requests';

const sample = 500;

export default function Overview() {
  const words = useWords();
  const { language } = useSpeech();
  const [, go] = useLocation();
  const info = useQuery(lists.info);
  const requests = useQuery(latest(sample));
  const open = (r: LoggedRequest) => go(`/requests/${encodeURIComponent(r.id)}`);
  return (
    <Page title={words.dashboard} calls={[{ method: 'GET', path: '/sluice/v1/info' }, { method: 'GET', path: '/healthz' }, { method: 'GET', path: '/sluice/v1/metrics/series?seconds=300' },
      { method: 'GET', path: '/sluice/v1/requests/active' }, { method: 'GET', path: `/sluice/v1/requests?limit=${sample}` }]}
      note={info.data ? `${words.version} ${info.data.version} · ${words.uptime} ${span(info.data.uptime_seconds * 1e6)}` : undefined}>
      <Health />
      {info.data?.config_faults.map((f) => <Alert key={f.since} color="red" icon={<IconAlertTriangle />} title={words.configFault}><span className="mono">{f.message}</span></Alert>)}
      <Loaded query={info}>
        {(i) => (
          <SimpleGrid cols={{ base: 2, sm: 3, lg: 6 }}>
            <Figure name={words.providers} value={count(i.providers, language)} to="/providers" />
            <Figure name={words.models} value={count(i.models, language)} to="/models" />
            <Figure name={words.keys} value={count(i.keys, language)} to="/keys" />
            <Recent rows={requests.data ?? []} />
          </SimpleGrid>
        )}
      </Loaded>
      <Paper withBorder p="md"><Text size="sm" fw={600} mb="xs">{words.perSecond}</Text><Traffic /></Paper>
      <InFlight />
      <Loaded query={requests}>
        {(rows) => rows.length === 0
          ? <Paper withBorder><Empty icon={<IconListDetails size={40} />} title={words.noRequests} hint={words.noRequestsHint} action={<Button component={Link} href="/start">{words.start}</Button>} /></Paper>
          : (
            <Stack>
              <Section title={words.lastErrors} rows={rows.filter((r) => r.status >= 400).slice(0, 5)} none={words.noErrors} onOpen={open} />
              <Section title={words.lastRequests} rows={rows.slice(0, 10)} none="" onOpen={open} />
            </Stack>
          )}
      </Loaded>
    </Page>
  );
}

function Health() {
  const words = useWords();
  const health = useQuery({
    queryKey: ['health'], refetchInterval: 5_000,
    queryFn: async () => (await (await fetch(new URL('readyz', apiUrl))).json()) as { status: string; reason?: string },
  });
  const status = health.data?.status;
  if (!status) return null;
  return status === 'ok'
    ? <Alert color="teal" variant="light" icon={<IconCircleCheck />} title={words.nothingBroken}>{words.allWell}</Alert>
    : <Alert color="red" icon={<IconAlertTriangle />} title={status === 'draining' ? words.draining : words.degraded}>{health.data?.reason}</Alert>;
}

function Figure({ name, value, note, to }: { name: string; value: string; note?: string; to?: string }) {
  const [, go] = useLocation();
  return (
    <Card withBorder padding="sm" {...(to && { component: 'button', type: 'button', className: 'clickable', onClick: () => go(to), ta: 'left' })}>
      <Text size="xs" c="dimmed">{name}</Text>
      <Text fw={700} size="xl">{value}</Text>
      {note && <Text size="xs" c="dimmed">{note}</Text>}
    </Card>
  );
}

function Recent({ rows }: { rows: LoggedRequest[] }) {
  const words = useWords();
  const errors = rows.filter((r) => r.status >= 400).length;
  const note = `${words.inLatest} ${rows.length}`;
  return (
    <>
      <Figure name={words.errorRate} value={rows.length ? `${((100 * errors) / rows.length).toFixed(errors ? 1 : 0)} %` : '–'} note={note} />
      <Figure name={words.medianTtft} value={span(median(rows.map((r) => r.ttft_us ?? -1)))} note={note} />
      <Figure name={words.medianDuration} value={span(median(rows.map((r) => r.duration_us)))} note={note} />
    </>
  );
}

const step = 5;

/** Five minutes in bars of five seconds, from the counters of the process. */
function Traffic() {
  const words = useWords();
  const series = useQuery(lists.series);
  const bars = useMemo(() => {
    const all = Array.from({ length: 300 / step }, (_, i) => ({ label: `−${300 - step - i * step} s`, good: 0, bad: 0 }));
    for (const point of series.data?.series ?? []) {
      const bar = all[Math.floor((299 + point.t) / step)];
      if (!bar) continue;
      bar.good += (point.requests - point.errors) / step;
      bar.bad += point.errors / step;
    }
    return all;
  }, [series.data]);
  return <Bars bars={bars} good={words.ok} bad={words.failedOnes} />;
}

function InFlight() {
  const words = useWords();
  const { language } = useSpeech();
  const active = useQuery(lists.active);
  const stop = useMutation({ mutationFn: (id: string) => take(api.DELETE('/sluice/v1/requests/active/{id}', { params: { path: { id } } })) });
  const rows = active.data ?? [];
  return (
    <Paper withBorder>
      <Group p="md" justify="space-between">
        <Text size="sm" fw={600}>{words.inFlight}{rows.length > 0 && ` · ${rows.length}`}</Text>
        {rows.length === 0 && <Text size="sm" c="dimmed">{words.nothingInFlight}</Text>}
      </Group>
      {rows.length > 0 && (
        <Table.ScrollContainer minWidth={640}>
          <Table verticalSpacing={6}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{words.model}</Table.Th><Table.Th>{words.provider}</Table.Th><Table.Th>{words.key}</Table.Th><Table.Th>{words.state}</Table.Th>
                <Table.Th ta="right">{words.elapsed}</Table.Th><Table.Th ta="right">{words.output}</Table.Th><Table.Th aria-label={words.actions} />
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {rows.slice(0, 50).map((r) => (
                <Table.Tr key={r.id}>
                  <Table.Td><Text size="sm" className="mono">{r.model || '…'}</Text></Table.Td>
                  <Table.Td><Text size="sm">{r.upstream ?? '–'}</Text></Table.Td>
                  <Table.Td><Text size="sm" c="dimmed">{r.key_label || r.key_id || '–'}</Text></Table.Td>
                  <Table.Td><Badge variant="light" tt="none">{r.state}</Badge></Table.Td>
                  <Table.Td ta="right"><Text size="sm">{span(r.elapsed_ms * 1000)}</Text></Table.Td>
                  <Table.Td ta="right"><Text size="sm">{r.tokens_estimated ? '≈ ' : ''}{count(r.tokens_out, language)}</Text></Table.Td>
                  <Table.Td ta="right">
                    <Tooltip label={words.stopRequest}>
                      <ActionIcon variant="subtle" color="red" onClick={() => stop.mutate(r.id)} aria-label={`${words.stopRequest} ${r.id}`}><IconPlayerStop size={16} /></ActionIcon>
                    </Tooltip>
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
    </Paper>
  );
}

function Section({ title, rows, none, onOpen }: { title: string; rows: LoggedRequest[]; none: string; onOpen: (r: LoggedRequest) => void }) {
  return (
    <Paper withBorder>
      <Group p="md" pb={rows.length ? 0 : 'md'} justify="space-between"><Text size="sm" fw={600}>{title}</Text>{rows.length === 0 && <Text size="sm" c="dimmed">{none}</Text>}</Group>
      {rows.length > 0 && <RequestTable rows={rows} onOpen={onOpen} />}
    </Paper>
  );
}
