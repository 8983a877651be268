// The request log: newest first and live, filtered by what the address says, each with its story beside it.
import { ActionIcon, Alert, Box, Button, Group, Menu, Modal, Paper, Popover, SegmentedControl, Select, Stack, Switch, Text, TextInput, Tooltip } from '@mantine/core';
import { useDebouncedCallback, useLocalStorage, useMediaQuery } from '@mantine/hooks';
import { IconAdjustmentsHorizontal, IconArrowUp, IconBookmark, IconListDetails, IconSearch, IconTrash, IconX } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useCallback, useMemo, useRef, useState } from 'react';
import { Link, useLocation, useParams, useSearchParams } from 'wouter';
import { lists } from '../api/lists';
import { useLog } from '../api/log';
import type { Filter, LoggedRequest } from '../api/requests';
import { useWords } from '../i18n';
import { useBeside } from '../parts/focus';
import { count, local } from '../parts/format';
import { InFlight } from '../parts/in-flight';
import { Empty, Failure, Page } from '../parts/pieces';
import { EmptyLog } from '../parts/empty-log';
import RequestList from '../parts/request-list';
import { Side } from '../parts/side';
import { Inspector } from './inspector';

const fields = ['model', 'provider', 'key', 'status', 'q', 'format', 'upstream_format', 'operation', 'stream', 'error', 'from', 'to'] as const;
const spans: Record<string, number> = { '15m': 15 * 60_000, '1h': 3_600_000, '24h': 86_400_000, '7d': 7 * 86_400_000 };
const formats = ['openai_chat', 'openai_responses', 'anthropic', 'google', 'ollama'];
const operations = ['chat', 'messages', 'responses', 'completions', 'embeddings', 'images', 'speech', 'transcriptions', 'moderations', 'rerank', 'count_tokens'];

interface View { name: string; query: string }

/** What the address asks for, as the server's filter. A span of time is fixed when it is chosen, so that pages stay pages. */
function useFilter(search: URLSearchParams): Filter {
  const query = search.toString();
  return useMemo(() => {
    const asked = new URLSearchParams(query);
    const since = spans[asked.get('since') ?? ''];
    const filter: Record<string, unknown> = Object.fromEntries(fields.flatMap((f) => (asked.get(f) ? [[f, asked.get(f)]] : [])));
    if (since) filter.from = String(Math.floor((Date.now() - since) / 1000) * 1000);
    if (filter.stream) filter.stream = filter.stream === 'true';
    return filter as Filter;
  }, [query]);
}

export default function Requests() {
  const words = useWords();
  const id = useParams().rest;
  const [, go] = useLocation();
  const [search, setSearch] = useSearchParams();
  const [isLive, setLive] = useState(true);
  const filter = useFilter(search);
  const log = useLog(filter, isLive);
  const models = useQuery(lists.models);
  const providers = useQuery(lists.providers);
  const keys = useQuery(lists.keys);
  const query = search.toString();
  const [hasMore, setMore] = useState(false);
  const moreButton = useRef<HTMLButtonElement>(null);
  useBeside(hasMore, useCallback(() => setMore(false), []), moreButton);
  const box = useRef<HTMLDivElement>(null);
  const set = (name: string, value: string | null) =>
    setSearch((old) => { const next = new URLSearchParams(old); if (value) next.set(name, value); else next.delete(name); return next; }, { replace: true });
  const setText = useDebouncedCallback((value: string) => set('q', value), 250);
  const open = (r: LoggedRequest) => go(`/requests/${encodeURIComponent(r.id)}${query ? `?${query}` : ''}`);
  const more = ['format', 'upstream_format', 'operation', 'stream', 'error', 'from', 'to'].filter((f) => search.get(f)).length;
  const names = (all: { name: string }[] | undefined, now: string | null) => [...new Set([...(all ?? []).map((x) => x.name), ...(now ? [now] : [])])];
  /** What is filtered by is among the choices, whatever it is. */
  const known = (all: { value: string; label: string }[], now: string | null) => (now && !all.some((x) => x.value === now) ? [...all, { value: now, label: now === 'none' ? words.none : now }] : all);
  const field = { size: 'xs', clearable: true, searchable: true, limit: 50 } as const;
  return (
    <Page title={words.requests} calls={[{ method: 'GET', path: `/sluice/v1/requests${query ? `?${query}` : ''}` }, { method: 'GET', path: `/sluice/v1/requests/tail${query ? `?${query}` : ''}` }, { method: 'GET', path: '/sluice/v1/requests/active' }]}
      actions={<>
        <Group gap={8} wrap="nowrap">
          <span className="dot" data-is={!isLive ? undefined : log.isLive ? 'fine' : 'warn'} aria-hidden />
          <Switch size="xs" label={words.live} checked={isLive} onChange={(e) => setLive(e.currentTarget.checked)} />
        </Group>
        {log.rows.length > 0 && <EmptyLog onDone={() => void log.reload()} />}
        <Views query={query} onChoose={(q) => setSearch(new URLSearchParams(q))} />
      </>}>
      <InFlight hidesEmpty />
      <Group gap={8}>
        <TextInput size="xs" placeholder={words.search} aria-label={words.search} leftSection={<IconSearch size={14} />} defaultValue={search.get('q') ?? ''} key={search.get('q') === null ? 'none' : 'some'}
          onChange={(e) => setText(e.currentTarget.value)} w={{ base: '100%', xs: 190 }} />
        <Select {...field} placeholder={words.model} aria-label={words.model} data={names(models.data, search.get('model'))} value={search.get('model')} onChange={(v) => set('model', v)} w={{ base: '48%', xs: 170 }} />
        <Select {...field} placeholder={words.provider} aria-label={words.provider} data={names(providers.data, search.get('provider'))} value={search.get('provider')} onChange={(v) => set('provider', v)} w={{ base: '48%', xs: 140 }} />
        <Select {...field} placeholder={words.key} aria-label={words.key} data={known(keys.data?.map((k) => ({ value: k.id, label: k.label || k.id })) ?? [], search.get('key'))} value={search.get('key')} onChange={(v) => set('key', v)} w={{ base: '48%', xs: 140 }} />
        <Select size="xs" placeholder={words.status} aria-label={words.status} value={search.get('status')} onChange={(v) => set('status', v)} clearable w={{ base: '48%', xs: 120 }}
          data={known([{ value: 'ok', label: words.ok }, { value: 'error', label: words.failedOnes }, ...['4xx', '5xx', '429'].map((s) => ({ value: s, label: s }))], search.get('status'))} />
        <Select size="xs" placeholder={words.anyTime} aria-label={words.time} value={search.get('since')} onChange={(v) => set('since', v)} clearable w={{ base: '48%', xs: 130 }}
          data={[{ value: '15m', label: words.last15m }, { value: '1h', label: words.lastHour }, { value: '24h', label: words.lastDay }, { value: '7d', label: words.lastWeek }]} />
        <Popover opened={hasMore} onChange={setMore} position="bottom-end" width={300} withArrow shadow="md" trapFocus closeOnEscape={false}>
          <Popover.Target><Button ref={moreButton} onClick={() => setMore(!hasMore)} size="xs" variant="default" leftSection={<IconAdjustmentsHorizontal size={14} />}>{words.more}{more > 0 && ` · ${more}`}</Button></Popover.Target>
          <Popover.Dropdown>
            <Stack gap="xs">
              <SegmentedControl size="xs" value={search.get('stream') ?? ''} onChange={(v) => set('stream', v)} data={[{ value: '', label: words.all }, { value: 'true', label: words.streams }, { value: 'false', label: words.noStreams }]} />
              <Select {...field} comboboxProps={{ withinPortal: false }} label={words.clientFormat} data={known(formats.map((f) => ({ value: f, label: f })), search.get('format'))} value={search.get('format')} onChange={(v) => set('format', v)} />
              <Select {...field} comboboxProps={{ withinPortal: false }} label={words.upstreamFormat} data={known(formats.map((f) => ({ value: f, label: f })), search.get('upstream_format'))} value={search.get('upstream_format')} onChange={(v) => set('upstream_format', v)} />
              <Select {...field} comboboxProps={{ withinPortal: false }} label={words.operation} data={known(operations.map((o) => ({ value: o, label: o })), search.get('operation'))} value={search.get('operation')} onChange={(v) => set('operation', v)} />
              <TextInput size="xs" label={words.errorCode} defaultValue={search.get('error') ?? ''} onBlur={(e) => set('error', e.currentTarget.value.trim())} onKeyDown={(e) => { if (e.key === 'Enter') set('error', e.currentTarget.value.trim()); }} />
              <TextInput size="xs" type="datetime-local" label={words.from} defaultValue={local(search.get('from') ?? '')} onChange={(e) => set('from', e.currentTarget.value ? new Date(e.currentTarget.value).toISOString() : '')} />
              <TextInput size="xs" type="datetime-local" label={words.until} defaultValue={local(search.get('to') ?? '')} onChange={(e) => set('to', e.currentTarget.value ? new Date(e.currentTarget.value).toISOString() : '')} />
            </Stack>
          </Popover.Dropdown>
        </Popover>
        {query && <Button size="xs" variant="subtle" color="gray" leftSection={<IconX size={14} />} onClick={() => setSearch(new URLSearchParams())}>{words.clear}</Button>}
      </Group>
      {log.error && <Failure error={log.error} retry={() => void log.reload()} />}
      {log.lost > 0 && <Alert color="yellow" variant="light" p="xs">{count(log.lost, 'en')} {words.lostRows}</Alert>}
      {!log.isLoading && log.rows.length === 0 && !log.error && (
        <Paper withBorder><Empty icon={<IconListDetails size={36} />} title={query ? words.noMatch : words.noRequests} hint={query ? words.noMatchHint : words.noRequestsHint}
          action={query ? undefined : <Button size="xs" component={Link} href="/start">{words.start}</Button>} /></Paper>
      )}
      {log.rows.length > 0 && (
        <Paper withBorder pos="relative">
          {log.waiting > 0 && (
            <Box pos="absolute" top={42} left={0} right={0} ta="center" style={{ zIndex: 3, pointerEvents: 'none' }}>
              <Button size="compact-sm" radius="xl" leftSection={<IconArrowUp size={14} />} style={{ pointerEvents: 'auto' }}
                onClick={() => { box.current?.scrollTo({ top: 0 }); log.showWaiting(); }}>{count(log.waiting, 'en')} {words.newOnes}</Button>
            </Box>
          )}
          <RequestList rows={log.rows} onOpen={open} picked={id && decodeURIComponent(id)} height="max(420px, calc(100dvh - 150px))" scroller={box}
            onEnd={log.hasMore ? log.older : undefined} onScroll={(top) => log.lookAtTop(top < 8)}
            foot={log.hasMore ? <Text size="xs" c="dimmed" ta="center" py={14}>{words.loading}…</Text> : undefined} />
        </Paper>
      )}
      <Beside id={id ? decodeURIComponent(id) : null} onClose={() => go(`/requests${query ? `?${query}` : ''}`)} />
    </Page>
  );
}

function Beside({ id, onClose }: { id: string | null; onClose: () => void }) {
  const words = useWords();
  const isNarrow = useMediaQuery('(max-width: 700px)');
  return (
    <Side opened={id !== null} onClose={onClose} size={isNarrow ? '100%' : 'min(1240px, 94vw)'} title={words.request}>
      {id !== null && <Inspector key={id} id={id} />}
    </Side>
  );
}

/** Filters with a name: some of ours, and those that were kept in this browser. */
function Views({ query, onChoose }: { query: string; onChoose: (query: string) => void }) {
  const words = useWords();
  const [views, setViews] = useLocalStorage<View[]>({ key: 'views', defaultValue: [] });
  const [isNaming, setNaming] = useState(false);
  const [name, setName] = useState('');
  const ours: View[] = [{ name: words.all, query: '' }, { name: words.failedOnes, query: 'status=error' }, { name: words.rateLimited, query: 'status=429' }, { name: words.streams, query: 'stream=true' }, { name: words.lastHour, query: 'since=1h' }];
  return (
    <>
      <Menu position="bottom-end" width={240}>
        <Menu.Target><Button size="xs" variant="default" leftSection={<IconBookmark size={14} />}>{[...ours.slice(1), ...views].find((v) => v.query === query)?.name ?? words.views}</Button></Menu.Target>
        <Menu.Dropdown>
          {ours.map((v) => <Menu.Item key={v.query} onClick={() => onChoose(v.query)}>{v.name}</Menu.Item>)}
          {views.length > 0 && <Menu.Divider />}
          {views.map((v) => (
            <Menu.Item key={v.name} onClick={() => onChoose(v.query)} component="div" role="menuitem"
              rightSection={<Tooltip label={words.delete}><ActionIcon size="xs" variant="subtle" color="gray" aria-label={`${words.delete} ${v.name}`} onClick={(e) => { e.stopPropagation(); setViews(views.filter((x) => x.name !== v.name)); }}><IconTrash size={13} /></ActionIcon></Tooltip>}>
              {v.name}
            </Menu.Item>
          ))}
          <Menu.Divider />
          <Menu.Item leftSection={<IconBookmark size={14} />} disabled={!query} onClick={() => setNaming(true)}>{words.saveView}</Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <Modal opened={isNaming} onClose={() => setNaming(false)} title={words.saveView} size="sm">
        <form onSubmit={(e) => { e.preventDefault(); setViews([...views.filter((v) => v.name !== name.trim()), { name: name.trim(), query }]); setNaming(false); setName(''); }}>
          <Stack>
            <TextInput label={words.name} value={name} onChange={(e) => setName(e.currentTarget.value)} required data-autofocus />
            <Group justify="flex-end"><Button type="submit" disabled={!name.trim()}>{words.save}</Button></Group>
          </Stack>
        </form>
      </Modal>
    </>
  );
}
