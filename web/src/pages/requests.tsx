// The request log: newest first, filtered by what the address says, each with its story beside it.
import { Badge, Button, Code, Drawer, Group, Paper, Select, SimpleGrid, Stack, Switch, Table, Text, TextInput, Timeline } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { IconArrowDown, IconListDetails, IconSearch } from '@tabler/icons-react';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { useLocation, useParams, useSearchParams } from 'wouter';
import { lists } from '../api/lists';
import { type Filter, found, type LoggedRequest, one, type RequestDetail } from '../api/requests';
import { useSpeech, useWords } from '../i18n';
import { count, moment, span } from '../parts/format';
import { Copy, Empty, Failure, Loaded, Page, StatusBadge, When } from '../parts/pieces';

const fields = ['model', 'provider', 'status', 'q'] as const;

export default function Requests() {
  const words = useWords();
  const id = useParams().rest;
  const [, go] = useLocation();
  const [search, setSearch] = useSearchParams();
  const [isLive, setLive] = useState(true);
  const filter: Filter = Object.fromEntries(fields.flatMap((f) => (search.get(f) ? [[f, search.get(f)]] : [])));
  const pages = useInfiniteQuery(found(filter, isLive));
  const models = useQuery(lists.models);
  const providers = useQuery(lists.providers);
  const query = search.toString();
  function set(name: string, value: string | null) {
    setSearch((old) => { const next = new URLSearchParams(old); if (value) next.set(name, value); else next.delete(name); return next; }, { replace: true });
  }
  const setText = useDebouncedCallback((value: string) => set('q', value), 250);
  const rows = pages.data?.pages.flatMap((p) => p.data) ?? [];
  return (
    <Page title={words.requests} calls={[{ method: 'GET', path: `/sluice/v1/requests${query ? `?${query}` : ''}` }]}
      actions={<Switch label={words.live} checked={isLive} onChange={(e) => setLive(e.currentTarget.checked)} />}>
      <Group gap="xs">
        <TextInput placeholder={words.search} aria-label={words.search} leftSection={<IconSearch size={16} />} defaultValue={filter.q ?? ''}
          onChange={(e) => setText(e.currentTarget.value)} w={{ base: '100%', xs: 240 }} />
        <Select placeholder={words.model} aria-label={words.model} data={models.data?.map((m) => m.name) ?? []} value={filter.model ?? null}
          onChange={(v) => set('model', v)} searchable clearable w={{ base: '100%', xs: 200 }} />
        <Select placeholder={words.provider} aria-label={words.provider} data={providers.data?.map((p) => p.name) ?? []} value={filter.provider ?? null}
          onChange={(v) => set('provider', v)} searchable clearable w={{ base: '100%', xs: 180 }} />
        <Select placeholder={words.status} aria-label={words.status} value={filter.status ?? null} onChange={(v) => set('status', v)} clearable w={{ base: '100%', xs: 150 }}
          data={[{ value: 'ok', label: words.ok }, { value: 'error', label: words.failedOnes }, '4xx', '5xx', '429']} />
      </Group>
      {pages.error && <Failure error={pages.error} retry={() => void pages.refetch()} />}
      {pages.data && rows.length === 0 && <Empty icon={<IconListDetails size={40} />} title={query ? words.noMatch : words.noRequests} hint={query ? '' : words.noRequestsHint} />}
      {rows.length > 0 && (
        <Paper withBorder>
          <RequestTable rows={rows} onOpen={(r) => go(`/requests/${encodeURIComponent(r.id)}${query ? `?${query}` : ''}`)} />
        </Paper>
      )}
      {pages.hasNextPage && (
        <Button variant="default" leftSection={<IconArrowDown size={16} />} loading={pages.isFetchingNextPage} onClick={() => void pages.fetchNextPage()}
          style={{ alignSelf: 'center' }}>{words.older}</Button>
      )}
      <Drawer opened={Boolean(id)} onClose={() => go(`/requests${query ? `?${query}` : ''}`)} position="right" size="xl" title={<Code>{id}</Code>}>
        {id && <Detail id={decodeURIComponent(id)} />}
      </Drawer>
    </Page>
  );
}

export function RequestTable({ rows, onOpen }: { rows: LoggedRequest[]; onOpen: (r: LoggedRequest) => void }) {
  const words = useWords();
  const { language } = useSpeech();
  return (
    <Table.ScrollContainer minWidth={820}>
      <Table verticalSpacing={6} highlightOnHover>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{words.time}</Table.Th><Table.Th>{words.status}</Table.Th><Table.Th>{words.model}</Table.Th><Table.Th>{words.provider}</Table.Th>
            <Table.Th>{words.key}</Table.Th><Table.Th ta="right">{words.input}</Table.Th><Table.Th ta="right">{words.output}</Table.Th>
            <Table.Th ta="right">{words.ttft}</Table.Th><Table.Th ta="right">{words.duration}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rows.map((r) => (
            <Table.Tr key={r.seq} className="clickable" onClick={() => onOpen(r)} tabIndex={0} onKeyDown={(e) => e.key === 'Enter' && onOpen(r)}>
              <Table.Td><When iso={r.ended} /></Table.Td>
              <Table.Td><StatusBadge status={r.status} /></Table.Td>
              <Table.Td><Text size="sm" className="mono">{r.model ?? '–'}</Text>{r.error && <Text size="xs" c="var(--mantine-color-error)">{r.error}</Text>}</Table.Td>
              <Table.Td><Text size="sm">{r.provider ?? '–'}</Text></Table.Td>
              <Table.Td><Text size="sm" c="dimmed">{r.key_label || r.key || '–'}</Text></Table.Td>
              <Table.Td ta="right"><Text size="sm">{count(r.input_tokens, language)}</Text></Table.Td>
              <Table.Td ta="right"><Text size="sm">{count(r.output_tokens, language)}</Text></Table.Td>
              <Table.Td ta="right"><Text size="sm">{span(r.ttft_us)}</Text></Table.Td>
              <Table.Td ta="right"><Text size="sm">{span(r.duration_us)}</Text></Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

function Detail({ id }: { id: string }) {
  return <Loaded query={useQuery(one(id))}>{(r) => <Story r={r} />}</Loaded>;
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return <Stack gap={0}><Text size="xs" c="dimmed">{name}</Text><Text size="sm" component="div">{children}</Text></Stack>;
}

function Story({ r }: { r: RequestDetail }) {
  const words = useWords();
  const { language } = useSpeech();
  return (
    <Stack>
      <Group><StatusBadge status={r.status} /><Text className="mono" fw={600}>{r.model ?? '–'}</Text>{r.stream && <Badge variant="light">{words.stream}</Badge>}<Copy text={r.id} /></Group>
      {r.error && <Paper withBorder p="sm"><Text size="sm" c="var(--mantine-color-error)" fw={600}>{r.error}</Text><Text size="sm" className="mono">{r.error_message ?? ''}</Text></Paper>}
      <SimpleGrid cols={{ base: 2, xs: 3 }}>
        <Fact name={words.time}>{moment(r.ended, language)}</Fact>
        <Fact name={words.provider}>{r.provider ?? '–'}</Fact>
        <Fact name={words.upstreamModel}><span className="mono">{r.provider_model ?? '–'}</span></Fact>
        <Fact name={words.format}>{r.client_format ?? '–'} → {r.upstream_format ?? '–'}</Fact>
        <Fact name={words.key}>{r.key_label || r.key || words.none}</Fact>
        <Fact name={words.attempts}>{r.attempts}</Fact>
        <Fact name={words.ttft}>{span(r.ttft_us)}</Fact>
        <Fact name={words.duration}>{span(r.duration_us)}</Fact>
        <Fact name={words.input}>{count(r.input_tokens, language)}</Fact>
        <Fact name={words.cached}>{count(r.cache_read_tokens, language)}</Fact>
        <Fact name={words.output}>{count(r.output_tokens, language)}</Fact>
        <Fact name={words.reasoning}>{count(r.reasoning_tokens, language)}</Fact>
      </SimpleGrid>
      {r.tried.length > 0 && (
        <Stack gap="xs">
          <Text fw={600} size="sm">{words.tried}</Text>
          <Timeline bulletSize={16} lineWidth={2} active={r.tried.length}>
            {r.tried.map((t, i) => (
              <Timeline.Item key={i} title={<Text size="sm">{t.provider}</Text>} color={t.fault ? 'red' : 'teal'}>
                <Text size="xs" c="dimmed">{[t.status, t.fault, t.code, span(t.duration_us)].filter(Boolean).join(' · ')}</Text>
                {t.message && <Text size="xs" className="mono">{t.message}</Text>}
              </Timeline.Item>
            ))}
          </Timeline>
        </Stack>
      )}
      {r.dropped.length > 0 && (
        <Stack gap={4}><Text fw={600} size="sm">{words.dropped}</Text><Group gap={4}>{r.dropped.map((d) => <Code key={d}>{d}</Code>)}</Group></Stack>
      )}
    </Stack>
  );
}
