// Costs over time, stacked by any two dimensions, with the forecast and the way to the table and to the requests behind a sum.
import { Button, Group, Paper, Select, Stack, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconCoin, IconDownload, IconListDetails, IconX } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useEffect, useMemo, useState } from 'react';
import { useLocation, useSearchParams } from 'wouter';
import { ApiError, apiUrl, credentials } from '../api/client';
import { beginnings, bounds, type Bucket, type CostRow, type Dim, dims, type Span, spans, summed, useNames, zone } from '../api/costs';
import { useSpeech, useWords } from '../i18n';
import { count, counted, money, moneyLike, short } from '../parts/format';
import { Empty, Loaded } from '../parts/pieces';
import { download } from '../parts/redact';
import { type Hatch, type Part, Stacked, Swatch } from '../parts/stacked';
import { type Column, type Sort, VTable } from '../parts/vtable';

const shownParts = 12; // others are one part
const hues = 8;

interface Group2 { id: string; ids: string[]; cost: number; requests: number; unpriced: number; input: number; output: number; color: string; hatch: Hatch; values: number[] }

/** Those of the first dimension share a hue, those of the second differ in shade: four of them, then the same ones hatched. */
function colored(groups: Group2[]): Group2[] {
  const firsts: string[] = [];
  const within = new Map<string, number>();
  return groups.map((g) => {
    const first = g.ids[0] ?? '';
    if (!firsts.includes(first)) firsts.push(first);
    const n = within.get(first) ?? 0;
    within.set(first, n + 1);
    const hue = `var(--series-${(firsts.indexOf(first) % hues) + 1})`;
    const shade = n % 4 === 0 ? hue : `color-mix(in oklab, ${hue} ${100 - (n % 4) * 24}%, var(--mantine-color-body))`;
    return { ...g, color: shade, hatch: n < 4 ? 'none' : n < 8 ? 'rising' : 'falling' };
  });
}

export function Spending({ onAsk }: { onAsk: (path: string) => void }) {
  const words = useWords();
  const { language } = useSpeech();
  const [, go] = useLocation();
  const [search, setSearch] = useSearchParams();
  const nameOf = useNames();
  const one = (name: string, all: readonly string[], otherwise: string) => { const v = search.get(name) ?? otherwise; return all.includes(v) ? v : otherwise; };
  const by = one('by', dims, 'model') as Dim;
  const then = one('then', ['', ...dims], '') as Dim | '';
  const span = one('span', spans, 'month') as Span;
  const [today, setToday] = useState(() => new Date().toDateString()); // so that bounds stay what they are while a page is looked at
  useEffect(() => { const timer = setInterval(() => setToday(new Date().toDateString()), 60_000); return () => clearInterval(timer); }, []);
  const { from, to, bucket } = useMemo(() => bounds(span, new Date(today)), [span, today]);
  const grouped = then && then !== by ? [by, then] : [by];
  const only = Object.fromEntries(dims.flatMap((d) => (search.get(d) ? [[d, search.get(d) ?? '']] : [])));
  const asked = { group_by: grouped.join(','), bucket, time_zone: zone, from: from.toISOString(), to: to.toISOString(), ...only };
  const path = `/sluice/v1/costs?${new URLSearchParams(asked)}`;
  useEffect(() => onAsk(path), [path, onAsk]);
  const sums = useQuery(summed(asked));
  const [sort, setSort] = useState<Sort>({ by: 'cost', down: true });
  const put = (change: Record<string, string | null>) => setSearch((old) => { const next = new URLSearchParams(old); for (const [k, v] of Object.entries(change)) if (v) next.set(k, v); else next.delete(k); return next; }, { replace: true });
  const csv = useMutation({
    mutationFn: async () => {
      const answer = await fetch(new URL(`${path.slice(1)}&format=csv`, apiUrl), { credentials: 'same-origin', headers: credentials() });
      if (!answer.ok) throw new ApiError(answer.status, null, answer.headers.get('x-request-id') ?? '');
      download(`costs-${asked.from.slice(0, 10)}-${grouped.join('-')}.csv`, await answer.text(), 'text/csv');
    },
    onError: (e) => notifications.show({ title: words.failed, message: e.message, color: 'red' }),
  });
  const dimWord = { model: words.model, provider: words.provider, key: words.key, org: words.org, user: words.user, tag: words.tag };
  const total = sums.data?.total_nanousd ?? 0;
  const { times, groups, parts, expected } = useMemo(() => arranged(sums.data?.data ?? [], grouped as Dim[], from, to, bucket, sums.data?.forecast_nanousd ?? null, span, words.others, (d, id) => (id === '(none)' ? words.none : nameOf(d, id)), total),
    [sums.data, by, then, from, to, bucket, span, words, total]); // eslint-disable-line -- names follow with the next figures
  const sorted = useMemo(() => groups.toSorted((a, b) => {
    const of = (g: Group2) => (sort.by === 'cost' ? g.cost : sort.by === 'requests' ? g.requests : sort.by === 'input' ? g.input : sort.by === 'output' ? g.output : 0);
    return (sort.down ? -1 : 1) * (of(a) - of(b));
  }), [groups, sort]);
  const stated = (sums.data?.data ?? []).reduce((s, r) => ({ n: s.n + r.stated_requests, cost: s.cost + r.stated_nanousd }), { n: 0, cost: 0 });
  const isMany = grouped.includes('tag'); // what has two of them stands below both: the sums are more than the whole
  const dollars = useMemo(() => moneyLike(groups.map((g) => g.cost)), [groups]);
  const columns: Column<Group2>[] = [
    ...grouped.map((d, i) => ({ id: d, head: dimWord[d as Dim], width: 'minmax(110px, 1.6fr)', cell: (g: Group2) => <>{i === 0 && <Swatch color={g.color} hatch={g.hatch} />}<span className={d === 'model' ? 'mono' : undefined}>{g.ids[i] === '(none)' ? words.none : nameOf(d as Dim, g.ids[i] ?? '')}</span></> })),
    { id: 'cost', head: words.cost, width: '92px', right: true, sortable: true, cell: (g) => <b style={{ fontWeight: 600 }}>{dollars(g.cost)}</b> },
    { id: 'share', head: words.share_, width: '64px', right: true, from: 520, cell: (g) => (total > 0 ? `${((100 * g.cost) / total).toFixed(1)} %` : '–') },
    { id: 'requests', head: words.requests, width: '86px', right: true, from: 620, sortable: true, cell: (g) => count(g.requests, language) },
    { id: 'input', head: words.input, width: '76px', right: true, from: 760, sortable: true, cell: (g) => short(g.input, language) },
    { id: 'output', head: words.output, width: '76px', right: true, from: 760, sortable: true, cell: (g) => short(g.output, language) },
    { id: 'unpriced', head: words.unpriced, width: '92px', right: true, from: 860, cell: (g) => (g.unpriced ? <span style={{ color: 'var(--warn)' }}>{count(g.unpriced, language)}</span> : '–') },
    { id: 'log', head: <span className="hide">{words.itsRequests}</span>, width: '30px', right: true, from: 480, cell: (g) => (grouped.some((d) => d === 'org' || d === 'user' || d === 'tag') ? null
      : <button type="button" className="vt-sort" title={words.itsRequests} aria-label={`${words.itsRequests} ${g.ids.join(' ')}`} onClick={(e) => { e.stopPropagation(); go(`/requests?${new URLSearchParams({ ...Object.fromEntries(grouped.map((d, i) => [d, g.ids[i] ?? ''])), from: asked.from, to: asked.to })}`); }}><IconListDetails size={15} /></button>) },
  ];
  return (
    <Stack gap="md">
      <Group gap={8}>
        <Select size="xs" aria-label={words.time} value={span} onChange={(v) => put({ span: v })} allowDeselect={false} data={spans.map((s) => ({ value: s, label: words[`span_${s}`] }))} w={{ base: '100%', xs: 170 }} />
        <Select size="xs" aria-label={words.groupBy} leftSection={<Text size="xs" c="dimmed">{words.by_}</Text>} leftSectionWidth={34} value={by} onChange={(v) => put({ by: v, ...(v === then && { then: null }) })} allowDeselect={false} data={dims.map((d) => ({ value: d, label: dimWord[d] }))} w={{ base: '48%', xs: 160 }} />
        <Select size="xs" aria-label={words.thenBy} leftSection={<Text size="xs" c="dimmed">{words.and_}</Text>} leftSectionWidth={38} placeholder="–" value={then || null} onChange={(v) => put({ then: v })} clearable data={dims.filter((d) => d !== by).map((d) => ({ value: d, label: dimWord[d] }))} w={{ base: '48%', xs: 160 }} />
        {Object.entries(only).map(([d, id]) => <Button key={d} size="compact-sm" variant="light" rightSection={<IconX size={13} />} onClick={() => put({ [d]: null })} aria-label={`${words.clear} ${dimWord[d as Dim]}`}>{dimWord[d as Dim]}: {nameOf(d as Dim, id)}</Button>)}
        <Button size="xs" variant="default" ml="auto" leftSection={<IconDownload size={14} />} loading={csv.isPending} onClick={() => csv.mutate()}>CSV</Button>
      </Group>
      <Loaded query={sums}>
        {(data) => (
          <>
            <Paper withBorder className="tiles" component="section" aria-label={words.spending}>
              <Figure name={words[`span_${span}`]} value={money(data.total_nanousd)} note={`${counted(data.requests, words.request, words.requests, language)} ${words.settledOnes}`} />
              <Figure name={words.forecast} value={money(data.forecast_nanousd)} note={words.forecastNote} />
              <Figure name={words.tokens} value={`${short(data.input_tokens, language)} → ${short(data.output_tokens, language)}`} note={data.requests ? `${money(total / data.requests)} ${words.aRequest}` : undefined} />
              <Figure name={words.unpriced} value={count(data.unpriced, language)} note={words.unpricedNote} is={data.unpriced > 0 ? 'warn' : undefined} />
              {stated.n > 0 && !isMany && <Figure name={words.vendorsSay} value={money(stated.cost)} note={counted(stated.n, words.request, words.requests, language)} />}
            </Paper>
            {data.data.length === 0 ? <Paper withBorder><Empty icon={<IconCoin size={36} />} title={words.noCosts} hint={words.noCostsHint} /></Paper> : (
              <>
                <Paper withBorder p="md" component="section" aria-label={words.overTime}>
                  {isMany && <Text size="xs" c="dimmed" mb={6}>{words.tagsOverlap}</Text>}
                  <Stacked label={words.spending} times={times} parts={parts} expected={expected} show={(v) => money(v)}
                    dated={(t) => new Date(t).toLocaleString(language === 'zh' ? 'zh-Hans' : 'en-GB', bucket === 'hour' ? { hour: '2-digit', minute: '2-digit' } : bucket === 'day' ? { day: 'numeric', month: 'short' } : { month: 'short', year: '2-digit' })} />
                  <Group gap={14} mt={8} component="ul" className="legend">{parts.map((p) => <li key={p.name}><Swatch color={p.color} hatch={p.hatch} />{p.name}</li>)}{expected && <li><span className="swatch" data-is="guess" />{words.forecast}</li>}</Group>
                </Paper>
                <Paper withBorder>
                  <VTable label={words.spending} rows={sorted} columns={columns} rowKey={(g) => g.id} rowHeight={36} height="max(300px, 46vh)" sort={sort} onSort={(s) => setSort((old) => ({ by: s, down: old.by === s ? !old.down : true }))}
                    onOpen={(g) => put({ [by]: g.ids[0] === '(none)' ? null : g.ids[0] ?? null, by: then || dims.find((d) => d !== by && !only[d]) || by, then: null })} />
                </Paper>
              </>
            )}
          </>
        )}
      </Loaded>
    </Stack>
  );
}

function Figure({ name, value, note, is }: { name: string; value: string; note?: string | undefined; is?: 'warn' | undefined }) {
  return <div className="tile"><div className="tile-name">{name}</div><div className="tile-value" style={is && { color: 'var(--warn)' }}>{value}</div>{note && <div className="tile-note">{note}</div>}</div>;
}

/** Rows of the ledger's sums as groups over time, the dearest first; and what the days to come would cost at the pace of the forecast. */
function arranged(rows: readonly CostRow[], by: Dim[], from: Date, to: Date, bucket: Bucket, forecast: number | null, span: Span, others: string, nameOf: (dim: Dim, id: string) => string, spent: number) {
  const times = beginnings(from, to, bucket);
  const place = new Map(times.map((t, i) => [t, i]));
  const found = new Map<string, Group2>();
  for (const r of rows) {
    const ids = by.map((d) => r[d] ?? '');
    const id = ids.join('\n');
    let g = found.get(id);
    if (!g) found.set(id, (g = { id, ids, cost: 0, requests: 0, unpriced: 0, input: 0, output: 0, color: '', hatch: 'none', values: times.map(() => 0) }));
    g.cost += r.cost_nanousd ?? 0;
    g.requests += r.requests;
    g.unpriced += r.unpriced;
    g.input += r.input_tokens;
    g.output += r.output_tokens;
    const i = r.at ? place.get(new Date(r.at).getTime()) : undefined;
    if (i !== undefined) g.values[i] = (g.values[i] ?? 0) + (r.cost_nanousd ?? 0);
  }
  const firsts = new Map<string, number>();
  for (const g of found.values()) firsts.set(g.ids[0] ?? '', (firsts.get(g.ids[0] ?? '') ?? 0) + g.cost);
  const dearest = [...found.values()].sort((a, b) => b.cost - a.cost);
  const told = new Set<string>(); // as many of the first dimension as there are hues
  const isTold = (g: Group2, i: number) => i < shownParts && (told.has(g.ids[0] ?? '') || (told.size < hues && told.add(g.ids[0] ?? '').size > 0));
  const head = colored(dearest.filter(isTold).sort((a, b) => (firsts.get(b.ids[0] ?? '') ?? 0) - (firsts.get(a.ids[0] ?? '') ?? 0) || b.cost - a.cost));
  const rest = dearest.filter((g) => !head.some((h) => h.id === g.id)).map((g) => ({ ...g, color: 'var(--series-rest)' }));
  const parts: Part[] = head.filter((g) => g.cost > 0).map((g) => ({ name: g.ids.map((id, i) => nameOf(by[i] ?? 'model', id)).join(' · '), color: g.color, hatch: g.hatch, values: g.values }));
  if (rest.some((g) => g.cost > 0)) parts.push({ name: others, color: 'var(--series-rest)', values: times.map((_, i) => rest.reduce((sum, g) => sum + (g.values[i] ?? 0), 0)) });
  const now = Date.now();
  const ahead = times.map((t, i) => Math.max(0, (times[i + 1] ?? to.getTime()) - Math.max(now, t))); // of today the rest
  const left = ahead.reduce((sum, a) => sum + a, 0);
  const expected = span === 'month' && forecast !== null && left > 0 && forecast > spent ? ahead.map((a, i) => (a > 0 ? dearest.reduce((sum, g) => sum + (g.values[i] ?? 0), 0) + ((forecast - spent) * a) / left : null)) : undefined;
  return { times, groups: [...head, ...rest], parts, expected };
}
