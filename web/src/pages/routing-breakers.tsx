// Who is left alone just now, for how long and why, with the way to ask again at once; and how far quotas are used.
import { Button, Group, Paper, Stack, Table, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconCircleCheck, IconRefresh } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import { api, take } from '../api/client';
import { type Breaker, type Quota, routing } from '../api/routing';
import { useSpeech, useWords } from '../i18n';
import { count, relative, said, span } from '../parts/format';
import { Grid } from '../parts/grid';
import { Guard } from '../parts/guard';
import { Loaded } from '../parts/pieces';

const looks: Record<string, 'fine' | 'warn' | 'bad'> = { open: 'bad', 'half-open': 'warn', closed: 'fine' };

export function Breakers() {
  const words = useWords();
  const { language } = useSpeech();
  const breakers = useQuery(routing.breakers);
  const quotas = useQuery(routing.quotas);
  const reset = useMutation({
    mutationFn: (b: Breaker | null) => take(api.POST('/sluice/v1/breakers/reset', { body: b ? { provider: b.provider, ...(b.model !== null && { model: b.model }) } : {} })),
    onSuccess: (r) => notifications.show({ message: `${words.askedAgain}: ${r.reset}`, color: 'teal' }),
    onError: (e) => notifications.show({ title: words.notDone, message: e.message, color: 'red' }),
  });
  return (
    <Stack gap="md">
      <Paper withBorder component="section" aria-label={words.breakers}>
        <Group px="md" py="sm" justify="space-between">
          <Text size="sm" c="dimmed" flex={1} miw={200}>{words.breakersHint}</Text>
          <Guard><Button size="xs" variant="default" leftSection={<IconRefresh size={14} />} disabled={!breakers.data?.some((b) => b.state !== 'closed')} loading={reset.isPending && reset.variables === null} onClick={() => reset.mutate(null)}>{words.askAllAgain}</Button></Guard>
        </Group>
        <Loaded query={breakers}>
          {(all) => all.length === 0 ? <Group px="md" pb="md" gap={10}><IconCircleCheck size={19} color="var(--fine)" aria-hidden /><Text size="sm">{words.noBreakers}</Text></Group> : (
            <Grid bare from={720} head={[words.provider, words.upstreamModel, words.state, words.lastFault, { right: words.failuresShort }, { right: words.leftAlone }, { right: words.lastFailure }, '']}>
              {all.map((b) => (
                <Table.Tr key={b.id}>
                  <Table.Td><Link href={`/providers/${encodeURIComponent(b.provider)}`} className="plain">{b.provider}</Link>{b.credential !== null && b.credential > 0 && <span className="tag" style={{ marginLeft: 6 }}>#{b.credential + 1}</span>}</Table.Td>
                  <Table.Td>{b.model === null ? <Text span size="sm" c="dimmed">{words.all}</Text> : <span className="mono">{b.model}</span>}</Table.Td>
                  <Table.Td><span className="status" data-is={looks[b.state] ?? 'warn'}>{words[`breaker_${b.state as 'open'}`]}</span>{b.is_probing && <Text span size="xs" c="dimmed"> {words.isProbing}</Text>}</Table.Td>
                  <Table.Td>{said(words, 'fault', b.fault)}</Table.Td>
                  <Table.Td ta="right" className="num">{count(b.failures, language)}</Table.Td>
                  <Table.Td ta="right" className="num">{b.wait_ms > 0 ? span(b.wait_ms * 1000) : '–'}</Table.Td>
                  <Table.Td ta="right" className="num" c="dimmed">{relative(new Date(Date.now() - b.age_ms).toISOString(), Date.now(), language)}</Table.Td>
                  <Table.Td ta="right">{b.state !== 'closed' && <Guard><Button size="compact-xs" variant="default" loading={reset.isPending && reset.variables?.id === b.id} onClick={() => reset.mutate(b)} aria-label={`${words.askNow} ${b.id}`}>{words.askNow}</Button></Guard>}</Table.Td>
                </Table.Tr>
              ))}
            </Grid>
          )}
        </Loaded>
      </Paper>
      {(quotas.data?.length ?? 0) > 0 && (
        <Paper withBorder component="section" aria-label={words.quotas}>
          <Text size="sm" fw={600} px="md" py="sm">{words.quotas}</Text>
          <Grid bare head={[words.provider, words.window, words.usedSoFar, { right: words.atItsEnd }, { right: words.beginsAnew }]}>
            {quotas.data?.map((q) => (
              <Table.Tr key={q.id}>
                <Table.Td>{q.provider}{q.credential > 0 && <span className="tag" style={{ marginLeft: 6 }}>#{q.credential + 1}</span>}</Table.Td><Table.Td>{said(words, 'window', q.window)}</Table.Td>
                <Table.Td><QuotaMeter q={q} /></Table.Td>
                <Table.Td ta="right" className="num" c={q.forecast >= 1 ? 'var(--bad)' : 'dimmed'}>{Math.round(q.forecast * 100)} %</Table.Td>
                <Table.Td ta="right" className="num">{q.reset_ms === null ? '–' : span(q.reset_ms * 1000)}</Table.Td>
              </Table.Tr>
            ))}
          </Grid>
        </Paper>
      )}
    </Stack>
  );
}

export function QuotaMeter({ q }: { q: Quota }) {
  const used = Math.min(1, q.used);
  const color = q.used >= 0.95 ? 'var(--bad)' : q.forecast >= 1 ? 'var(--warn)' : 'var(--fine)';
  return (
    <Group gap={8} wrap="nowrap">
      <div className="meter" style={{ flex: 1 }} role="meter" aria-label={`${q.provider} ${q.window}`} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(used * 100)}><span style={{ width: `${used * 100}%`, background: color }} /></div>
      <Text size="xs" c="dimmed" className="num" w={36} ta="right">{Math.round(used * 100)} %</Text>
    </Group>
  );
}
