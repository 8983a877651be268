// Every limit that is set: what of it is used now, what is left, who waits for room, and how many were refused.
import { Paper, Select, Stack, Text, TextInput, Group } from '@mantine/core';
import { IconGauge, IconSearch } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { useLocation, useSearchParams } from 'wouter';
import { lists } from '../api/lists';
import { type Limit, objects } from '../api/objects';
import { useSpeech } from '../i18n';
import { count, short, span } from '../parts/format';
import type { LimitName } from '../parts/limit-fields';
import { Empty, Loaded } from '../parts/pieces';
import { type Column, VTable } from '../parts/vtable';

const kinds = ['key', 'user', 'org', 'model', 'upstream'] as const;
type Of = (typeof kinds)[number];

/** Where it is set. */
const placeOf = (l: Limit) => { const id = encodeURIComponent(l.id); return l.of === 'key' ? `/keys/${id}` : l.of === 'org' ? `/orgs?id=${id}` : l.of === 'user' ? `/orgs/users?id=${id}` : l.of === 'model' ? `/models/${id}` : `/providers/${id}`; };

export function LimitsInForce() {
  const { words, language } = useSpeech();
  const [, go] = useLocation();
  const [search, setSearch] = useSearchParams();
  const limits = useQuery(objects.limits);
  const keys = useQuery(lists.keys);
  const orgs = useQuery(lists.orgs);
  const users = useQuery(lists.users);
  const [text, setText] = useState('');
  const of = search.get('of');
  const wanted = text.trim().toLowerCase();
  const names = useMemo(() => ({ key: new Map(keys.data?.map((k) => [k.id, k.label])), org: new Map(orgs.data?.map((o) => [o.id, o.name])), user: new Map(users.data?.map((u) => [u.id, u.name])) }), [keys.data, orgs.data, users.data]);
  const named = (l: Limit) => names[l.of as 'key']?.get(l.id) || l.id;
  const word = { key: words.key, user: words.user, org: words.org, model: words.model, upstream: words.provider };
  const share = (l: Limit) => (l.limit > 0 ? l.used / l.limit : 0);
  const columns: Column<Limit>[] = [
    { id: 'of', head: words.owner, width: 'minmax(96px, 1.2fr)', cell: (l) => <><span className="tag">{word[l.of as Of] ?? l.of}</span><b style={{ fontWeight: 600 }} title={l.id}>{named(l)}</b></> },
    { id: 'kind', head: words.limit, width: 'minmax(110px, 1fr)', from: 480, cell: (l) => words[`limit_${l.kind as LimitName}`] ?? l.kind },
    { id: 'used', head: words.usedSoFar, width: 'minmax(176px, 1.8fr)', cell: (l) => (
      <span style={{ display: 'flex', alignItems: 'center', gap: 8 }}>
        <span className="meter" role="meter" aria-label={`${named(l)} ${words[`limit_${l.kind as LimitName}`] ?? l.kind}`} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.min(100, Math.round(100 * share(l)))} style={{ flex: 1, minWidth: 16, display: 'block' }}><span style={{ width: `${Math.min(100, 100 * share(l))}%`, background: share(l) >= 1 ? 'var(--bad)' : share(l) >= 0.8 ? 'var(--warn)' : 'var(--fine)' }} /></span>
        <span className="num">{short(l.used, language)} / {short(l.limit, language)} <span className="dim">{words[`short_${l.kind as LimitName}`]}</span></span>
      </span>) },
    { id: 'reset', head: words.allFreeIn, width: '96px', right: true, from: 760, cell: (l) => (l.reset_ms > 0 ? span(l.reset_ms * 1000) : '–') },
    { id: 'waiting', head: words.state_waiting, width: '72px', right: true, from: 620, cell: (l) => count(l.waiting, language) },
    { id: 'refused', head: words.refusedFor, width: '76px', right: true, from: 560, cell: (l) => (l.refused > 0 ? <span style={{ color: 'var(--bad-text)' }}>{count(l.refused, language)}</span> : '0') },
  ];
  return (
    <Stack gap="sm">
      <Text size="sm" c="dimmed">{words.limitsHint}</Text>
      <Loaded query={limits}>
        {(all) => {
          if (all.length === 0) return <Paper withBorder><Empty icon={<IconGauge size={36} />} title={words.noLimits} hint={words.noLimitsHint} /></Paper>;
          const rows = all.filter((l) => (!of || l.of === of) && `${l.id} ${named(l)} ${l.kind}`.toLowerCase().includes(wanted)).toSorted((a, b) => share(b) - share(a));
          return (
            <>
              <Group gap={8}>
                <TextInput size="xs" placeholder={words.search} aria-label={words.search} leftSection={<IconSearch size={14} />} value={text} onChange={(e) => setText(e.currentTarget.value)} w={{ base: '100%', xs: 240 }} />
                <Select size="xs" placeholder={words.all} aria-label={words.owner} data={kinds.map((k) => ({ value: k, label: word[k] }))} value={of} onChange={(v) => setSearch(v ? { of: v } : {}, { replace: true })} clearable w={{ base: '48%', xs: 160 }} />
              </Group>
              {rows.length === 0 ? <Paper withBorder><Empty icon={<IconSearch size={30} />} title={words.noMatch} hint="" /></Paper>
                : <Paper withBorder><VTable label={words.limitsInForce} rows={rows} columns={columns} rowKey={(l) => l.name} rowHeight={38} height="max(300px, calc(100dvh - 250px))" onOpen={(l) => go(placeOf(l))} /></Paper>}
            </>
          );
        }}
      </Loaded>
    </Stack>
  );
}
