// What a key used in the last thirty days: spent, requests and tokens, by day.
import { Group, Stack, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { Link } from 'wouter';
import { beginnings, bounds, summed, zone } from '../api/costs';
import { useSpeech, useWords } from '../i18n';
import { counted, money, short } from './format';
import { Loaded } from './pieces';
import { Stacked } from './stacked';

export function UsageOfKey({ id }: { id: string }) {
  const words = useWords();
  const { language } = useSpeech();
  const [now] = useState(() => new Date());
  const { from, to } = useMemo(() => bounds('30d', now), [now]);
  const times = useMemo(() => beginnings(from, to, 'day'), [from, to]);
  const sums = useQuery(summed({ bucket: 'day', key: id, time_zone: zone, from: from.toISOString(), to: to.toISOString() }));
  return (
    <Stack gap={6} component="section" aria-label={words.span_30d}>
      <Group justify="space-between"><Text size="sm" fw={600}>{words.span_30d}</Text><Link href={`/cost?${new URLSearchParams({ key: id, span: '30d' })}`} className="quiet">{words.costs}</Link></Group>
      <Loaded query={sums}>
        {(data) => {
          const all = data.data.reduce((s, r) => ({ requests: s.requests + r.requests, input: s.input + r.input_tokens, output: s.output + r.output_tokens }), { requests: 0, input: 0, output: 0 });
          const byDay = new Map(data.data.map((r) => [r.at ? new Date(r.at).getTime() : 0, r.cost_nanousd ?? 0]));
          if (all.requests === 0) return <Text size="sm" c="dimmed">{words.unused}</Text>;
          return (
            <>
              <Text size="sm" className="num"><b>{money(data.total_nanousd)}</b> · {counted(all.requests, words.request, words.requests, language)} {words.settledOnes} · {short(all.input, language)} → {short(all.output, language)} {words.tokens.toLowerCase()}</Text>
              <Stacked label={words.spending} times={times} parts={[{ name: words.cost, color: 'var(--series-1)', values: times.map((t) => byDay.get(t) ?? 0) }]} show={(v) => money(v)} height={120}
                dated={(t) => new Date(t).toLocaleDateString(language === 'zh' ? 'zh-Hans' : 'en-GB', { day: 'numeric', month: 'short' })} />
            </>
          );
        }}
      </Loaded>
    </Stack>
  );
}
