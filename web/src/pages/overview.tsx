// What is wrong first, then what happens.
import { Button, Group, Paper, SegmentedControl, SimpleGrid, Stack, Table, Text } from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck, IconHistory, IconRocket } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { Link, useLocation } from 'wouter';
import { lists, seriesOf } from '../api/lists';
import { useProblems } from '../api/problems';
import { latest } from '../api/requests';
import { useSpeech, useWords } from '../i18n';
import { Chart } from '../parts/chart';
import { count, short, span } from '../parts/format';
import { InFlight } from '../parts/in-flight';
import { Empty, Loaded, Page, When } from '../parts/pieces';
import { Spend } from '../parts/spend';
import { RequestList } from './requests';

export default function Overview() {
  const words = useWords();
  const [, go] = useLocation();
  const info = useQuery(lists.info);
  const requests = useQuery(latest(50));
  const isNew = requests.data?.length === 0;
  return (
    <Page title={words.dashboard} calls={[{ method: 'GET', path: '/sluice/v1/info' }, { method: 'GET', path: '/readyz' }, { method: 'GET', path: '/sluice/v1/metrics/series?seconds=300' },
      { method: 'GET', path: '/sluice/v1/requests/active' }, { method: 'GET', path: '/sluice/v1/requests?limit=50' }]}
      note={info.data ? `${words.version} ${info.data.version} · ${words.uptime} ${span(info.data.uptime_seconds * 1e6)}` : undefined}>
      <Problems />
      {isNew && <Newcomer />}
      <Tiles />
      <Figures />
      <InFlight />
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="md">
        <Paper withBorder component="section" aria-label={words.lastErrors}>
          <Head title={words.lastErrors} to="/requests?status=error" />
          <Loaded query={requests}>
            {(rows) => {
              const bad = rows.filter((r) => r.status >= 400).slice(0, 8);
              return bad.length === 0 ? <Text size="sm" c="dimmed" px="md" pb="md">{words.noErrors}</Text>
                : <RequestList rows={bad} height="340px" onOpen={(r) => go(`/requests/${encodeURIComponent(r.id)}`)} />;
            }}
          </Loaded>
        </Paper>
        <Changes />
      </SimpleGrid>
    </Page>
  );
}

function Head({ title, to }: { title: string; to?: string }) {
  const words = useWords();
  return <Group px="md" py="sm" justify="space-between"><Text size="sm" fw={600}>{title}</Text>{to && <Link href={to} className="quiet">{words.showAll}</Link>}</Group>;
}

function Newcomer() {
  const words = useWords();
  return <Paper withBorder><Empty icon={<IconRocket size={36} />} title={words.noRequests} hint={words.startHint} action={<Button component={Link} href="/start">{words.start}</Button>} /></Paper>;
}

const mostProblems = 6;

function Problems() {
  const words = useWords();
  const { problems, isKnown } = useProblems(words);
  if (!isKnown) return null;
  return (
    <Paper withBorder component="section" aria-label={words.brokenNow} aria-live="polite">
      {problems.length === 0
        ? <Group px="md" py="sm" gap={10}><IconCircleCheck size={19} color="var(--fine)" aria-hidden /><Text size="sm" fw={600}>{words.nothingBroken}</Text><Text size="sm" c="dimmed">{words.allWell}</Text></Group>
        : problems.slice(0, mostProblems).map((p) => (
          <Group key={p.id} px="md" py={9} gap={10} wrap="nowrap" className="problem">
            <IconAlertTriangle size={18} color={p.isGrave ? 'var(--bad)' : 'var(--warn)'} style={{ flex: 'none' }} aria-hidden />
            <div style={{ flex: 1, minWidth: 0 }}><Text size="sm" fw={600} span>{p.title}</Text> <Text size="sm" c="dimmed" span style={{ overflowWrap: 'anywhere' }}>{p.text}</Text></div>
            <Button size="compact-xs" variant="default" component={Link} href={p.to}>{words[p.action]}</Button>
          </Group>
        ))}
      {problems.length > mostProblems && <Text size="xs" c="dimmed" px="md" py={8}>+ {problems.length - mostProblems}</Text>}
    </Paper>
  );
}

function Tile({ name, value, note, to, is }: { name: string; value: string; note?: string | undefined; to?: string; is?: 'bad' }) {
  const inner = <><div className="tile-name">{name}</div><div className="tile-value" style={is && { color: 'var(--bad)' }}>{value}</div>{note && <div className="tile-note">{note}</div>}</>;
  return to ? <Link href={to} className="tile tile-link">{inner}</Link> : <div className="tile">{inner}</div>;
}

function Tiles() {
  const words = useWords();
  const { language } = useSpeech();
  const series = useQuery(lists.series);
  const info = useQuery(lists.info);
  const sum = useMemo(() => {
    const s = { minute: 0, requests: 0, errors: 0, out: 0, ttft: 0, answered: 0, busy: 0 };
    for (const p of series.data?.series ?? []) {
      s.requests += p.requests;
      s.errors += p.errors;
      s.out += p.tokens_out;
      if (p.t > -60) s.minute += p.requests;
      if (p.ttft_ms > 0) { s.ttft += p.ttft_ms * p.requests; s.answered += p.requests; }
      s.busy += (p.avg_ms * p.requests) / 1000;
    }
    return s;
  }, [series.data]);
  return (
    <Paper withBorder className="tiles" component="section" aria-label={words.now}>
      <Tile name={words.inFlight} value={series.data ? count(series.data.in_flight, language) : '–'} note={series.data ? `${count(series.data.active_streams, language)} ${words.streams}` : undefined} to="/requests" />
      <Tile name={words.requestsAMinute} value={count(sum.minute, language)} note={`${short(sum.requests, language)} ${words.inFiveMinutes}`} />
      <Tile name={words.errorRate} value={sum.requests ? `${((100 * sum.errors) / sum.requests).toFixed(sum.errors ? 1 : 0)} %` : '–'} note={`${count(sum.errors, language)} ${words.inFiveMinutes}`} to="/requests?status=error" {...(sum.errors > 0 && sum.errors / sum.requests > 0.05 && { is: 'bad' as const })} />
      <Tile name={words.ttft} value={sum.answered ? span(Math.round((sum.ttft / sum.answered) * 1000)) : '–'} note={words.mean} />
      <Tile name={words.tokensASecond} value={sum.busy > 0 && sum.out > 0 ? short(Math.round(sum.out / sum.busy), language) : '–'} note={words.perRequest} />
      <Spend />
      <Tile name={words.models} value={info.data ? short(info.data.models, language) : '–'} note={info.data ? `${count(info.data.providers, language)} ${words.providers}` : undefined} to="/models" />
    </Paper>
  );
}

const step = 5;
const dims = ['model', 'upstream', 'key'] as const;
type Dim = (typeof dims)[number];

/** The last five minutes: of everything, or of the model, provider or key that was picked below. */
function Figures() {
  const words = useWords();
  const { language } = useSpeech();
  const [dim, setDim] = useState<Dim>('model');
  const [label, setLabel] = useState<string | null>(null);
  const all = useQuery(lists.series);
  const of = useQuery({ ...seriesOf(dim, label ?? ''), enabled: label !== null });
  const data = label === null ? all.data : of.data;
  const { times, good, bad, ttft, total, tokensIn, tokensOut } = useMemo(() => {
    const n = 300 / step;
    const buckets = Array.from({ length: n }, () => ({ good: 0, bad: 0, in: 0, out: 0, ttft: 0, answered: 0, ms: 0, all: 0 }));
    for (const p of data?.series ?? []) {
      const b = buckets[Math.floor((299 + p.t) / step)];
      if (!b) continue;
      b.good += p.requests - p.errors;
      b.bad += p.errors;
      b.in += p.tokens_in;
      b.out += p.tokens_out;
      b.ms += p.avg_ms * p.requests;
      b.all += p.requests;
      if (p.ttft_ms > 0) { b.ttft += p.ttft_ms * p.requests; b.answered += p.requests; }
    }
    const now = Math.floor(Date.now() / 1000);
    return {
      times: buckets.map((_, i) => now - 300 + i * step),
      good: buckets.map((b) => (b.good + b.bad) / step), bad: buckets.map((b) => b.bad / step),
      ttft: buckets.map((b) => (b.answered ? b.ttft / b.answered : null)), total: buckets.map((b) => (b.all ? b.ms / b.all : null)),
      tokensIn: buckets.map((b) => b.in / step), tokensOut: buckets.map((b) => b.out / step),
    };
  }, [data]);
  const table = all.data ? { model: all.data.models, upstream: all.data.upstreams, key: all.data.keys }[dim] : [];
  const decimals = (v: number) => (v >= 10 || Number.isInteger(v) ? short(Math.round(v), language) : v.toFixed(1));
  const ms = (v: number) => (v === 0 ? '0' : span(Math.round(v * 1000)));
  const charts = [
    { title: words.traffic, show: decimals, lines: [{ name: words.ok, color: '--mapped', values: good, isBar: true }, { name: words.failedOnes, color: '--bad', values: bad, isBar: true }] },
    { title: words.latency, show: ms, lines: [{ name: words.ttft, color: '--fine', values: ttft }, { name: words.duration, color: '--mapped', values: total }] },
    { title: words.tokensASecondAll, show: decimals, lines: [{ name: words.input, color: '--mapped', values: tokensIn, isFilled: true }, { name: words.output, color: '--fine', values: tokensOut, isFilled: true }] },
  ];
  return (
    <Paper withBorder component="section" aria-label={words.lastFive}>
      <Group px="md" pt="sm" justify="space-between">
        <Text size="sm" fw={600}>{words.lastFive}{label !== null && <> · <span className="mono">{table.find((r) => r.id === label)?.label || label}</span></>}</Text>
        {label !== null && <Button size="compact-xs" variant="subtle" color="gray" onClick={() => setLabel(null)}>{words.all}</Button>}
      </Group>
      <SimpleGrid cols={{ base: 1, md: 3 }} spacing="lg" p="md" pt="xs">
        {charts.map((c) => <div key={c.title}><Text size="xs" c="dimmed" mb={4}>{c.title}</Text><Chart times={times} lines={c.lines} show={c.show} label={c.title} /></div>)}
      </SimpleGrid>
      <Group px="md" pb={6}><SegmentedControl size="xs" value={dim} onChange={(d) => { setDim(d as Dim); setLabel(null); }} data={[{ value: 'model', label: words.byModel }, { value: 'upstream', label: words.byProvider }, { value: 'key', label: words.byKey }]} /></Group>
      {table.length === 0 ? <Text size="sm" c="dimmed" px="md" pb="md">{words.noTraffic}</Text> : (
        <Table.ScrollContainer minWidth={560}>
          <Table fz="sm" verticalSpacing={4}>
            <Table.Thead><Table.Tr><Table.Th>{words[dim === 'upstream' ? 'provider' : dim]}</Table.Th><Table.Th ta="right">{words.requests}</Table.Th><Table.Th ta="right">{words.errorRate}</Table.Th><Table.Th ta="right">{words.input}</Table.Th><Table.Th ta="right">{words.output}</Table.Th><Table.Th ta="right">{words.ttft}</Table.Th><Table.Th ta="right">{words.duration}</Table.Th></Table.Tr></Table.Thead>
            <Table.Tbody>
              {table.toSorted((a, b) => b.requests - a.requests).slice(0, 8).map((r) => (
                <Table.Tr key={r.id} className="clickable" aria-selected={label === r.id} onClick={() => setLabel(label === r.id ? null : r.id)}>
                  <Table.Td><button type="button" className="vt-sort mono">{r.label || r.id || words.none}</button></Table.Td>
                  <Table.Td ta="right" className="num">{count(r.requests, language)}</Table.Td>
                  <Table.Td ta="right" className="num" c={r.errors ? 'var(--bad)' : 'dimmed'}>{r.errors ? `${((100 * r.errors) / r.requests).toFixed(1)} %` : '0'}</Table.Td>
                  <Table.Td ta="right" className="num">{short(r.tokens_in, language)}</Table.Td><Table.Td ta="right" className="num">{short(r.tokens_out, language)}</Table.Td>
                  <Table.Td ta="right" className="num">{r.ttft_ms > 0 ? ms(r.ttft_ms) : '–'}</Table.Td><Table.Td ta="right" className="num">{ms(r.avg_ms)}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
    </Paper>
  );
}

function Changes() {
  const words = useWords();
  return (
    <Paper withBorder component="section" aria-label={words.whatChanged}>
      <Head title={words.whatChanged} to="/settings/history" />
      <Loaded query={useQuery(lists.versions)}>
        {(all) => all.length === 0 ? <Empty icon={<IconHistory size={28} />} title={words.none} hint="" /> : (
          <Stack gap={0} pb="xs">
            {all.slice(0, 8).map((v) => (
              <Group key={v.id} px="md" py={5} gap="sm" wrap="nowrap"><Text size="sm" className="ell" flex={1} title={v.what}>{v.what}</Text><Text size="sm" c="dimmed" className="ell">{v.actor}</Text><When iso={v.at} /></Group>
            ))}
          </Stack>
        )}
      </Loaded>
    </Paper>
  );
}
