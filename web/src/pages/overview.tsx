// What is wrong first, then what happens.
import { Alert, Card, Group, Paper, SimpleGrid, Stack, Text } from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck, IconListDetails } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { useLocation } from 'wouter';
import { apiUrl } from '../api/client';
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
    <Page title={words.dashboard} calls={[{ method: 'GET', path: '/sluice/v1/info' }, { method: 'GET', path: '/healthz' }, { method: 'GET', path: `/sluice/v1/requests?limit=${sample}` }]}
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
      <Loaded query={requests}>
        {(rows) => rows.length === 0
          ? <Paper withBorder><Empty icon={<IconListDetails size={40} />} title={words.noRequests} hint={words.noRequestsHint} /></Paper>
          : (
            <Stack>
              <Paper withBorder p="md"><Text size="sm" fw={600} mb="xs">{words.perMinute}</Text><Minutes rows={rows} /></Paper>
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

function Minutes({ rows }: { rows: LoggedRequest[] }) {
  const words = useWords();
  const bars = useMemo(() => {
    const now = Date.now();
    const all = Array.from({ length: 60 }, (_, i) => ({ label: `-${59 - i} min`, good: 0, bad: 0 }));
    for (const r of rows) {
      const bar = all[59 - Math.floor((now - new Date(r.ended).getTime()) / 60_000)];
      if (bar) bar[r.status >= 400 ? 'bad' : 'good'] += 1;
    }
    return all;
  }, [rows]);
  return <Bars bars={bars} good={words.ok} bad={words.failedOnes} />;
}

function Section({ title, rows, none, onOpen }: { title: string; rows: LoggedRequest[]; none: string; onOpen: (r: LoggedRequest) => void }) {
  return (
    <Paper withBorder>
      <Group p="md" pb={rows.length ? 0 : 'md'} justify="space-between"><Text size="sm" fw={600}>{title}</Text>{rows.length === 0 && <Text size="sm" c="dimmed">{none}</Text>}</Group>
      {rows.length > 0 && <RequestTable rows={rows} onOpen={onOpen} />}
    </Paper>
  );
}
