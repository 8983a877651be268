// Answers that are kept: how each layer serves, how much memory they take, and the way to forget them.
import { Button, Group, NumberInput, Paper, Stack, Switch, Table, Text, Autocomplete } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconEraser, IconRestore } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'wouter';
import { api, take } from '../api/client';
import { lists } from '../api/lists';
import { type Layer, objects } from '../api/objects';
import { useSpeech, useWords } from '../i18n';
import { Confirm } from '../parts/dialogs';
import { count, short, size, span } from '../parts/format';
import { Failure, Loaded } from '../parts/pieces';
import { Grid } from '../parts/grid';
import { Guard } from '../parts/guard';

const asked = (l: Layer) => l.hits + l.misses + l.joined;
const settings = { response: 'response_cache', semantic: 'semantic_cache_model', idempotency: 'idempotency_window_ms' } as Record<string, string>;

export function Cache() {
  const { words, language } = useSpeech();
  const cache = useQuery(objects.cache);
  const [isForgetting, setForgetting] = useState(false);
  const reset = useMutation({ mutationFn: () => take(api.DELETE('/sluice/v1/cache/stats')), onSuccess: () => notifications.show({ message: words.figuresZero, color: 'teal' }) });
  return (
    <Stack gap="sm">
      <Group justify="space-between">
        <Text size="sm" c="dimmed" flex={1} miw={220}>{words.cacheHint}</Text>
        <Group gap="xs">
          <Guard><Button size="xs" variant="default" leftSection={<IconRestore size={14} />} loading={reset.isPending} onClick={() => reset.mutate()}>{words.zeroFigures}</Button></Guard>
          <Guard><Button size="xs" variant="light" color="red" leftSection={<IconEraser size={14} />} onClick={() => setForgetting(true)}>{words.forgetAnswers}</Button></Guard>
        </Group>
      </Group>
      {reset.error && <Failure error={reset.error} />}
      <Loaded query={cache}>
        {(c) => {
          const sum = (of: (l: Layer) => number) => c.layers.reduce((n, l) => n + of(l), 0);
          const all = sum(asked);
          return (
            <>
              <Paper withBorder className="tiles" component="section" aria-label={words.cache}>
                <Tile name={words.answersKept} value={count(c.entries, language)} note={`${words.ofBudget} ${count(c.max_entries, language)}`} share={c.entries / Math.max(1, c.max_entries)} />
                <Tile name={words.memory} value={size(c.bytes)} note={`${words.ofBudget} ${size(c.max_bytes)}`} share={c.bytes / Math.max(1, c.max_bytes)} />
                <Tile name={words.answeredFromIt} value={all > 0 ? `${((100 * sum((l) => l.hits + l.joined)) / all).toFixed(1)} %` : '–'} note={`${count(sum((l) => l.hits + l.joined), language)} / ${count(all, language)}`} />
                <Tile name={words.tokensSaved} value={short(sum((l) => l.tokens_saved), language)} note={`${words.keptFor} ${span(c.ttl_ms * 1000)}`} />
              </Paper>
              <Grid from={720} head={[words.layer, words.state, ...[words.answersKept, words.memory, words.hits, words.misses, words.joined, words.evicted].map((right) => ({ right }))]}>
                {c.layers.map((l) => (
                  <Table.Tr key={l.layer}>
                    <Table.Td><div><Text size="sm" fw={550}>{words[`layer_${l.layer as 'response'}`]}</Text><Text size="xs" c="dimmed">{words[`layerHint_${l.layer as 'response'}`]}</Text></div></Table.Td>
                    <Table.Td>{l.is_on ? <span className="status" data-is="fine">{words.enabled}</span> : <Link href={`/settings?q=${settings[l.layer] ?? 'cache'}`} className="quiet">{words.disabled}</Link>}</Table.Td>
                    <Table.Td ta="right" className="num">{count(l.entries, language)}</Table.Td><Table.Td ta="right" className="num">{size(l.bytes)}</Table.Td>
                    <Table.Td ta="right" className="num">{count(l.hits, language)}</Table.Td><Table.Td ta="right" className="num">{count(l.misses, language)}</Table.Td><Table.Td ta="right" className="num">{count(l.joined, language)}</Table.Td><Table.Td ta="right" className="num">{count(l.evicted, language)}</Table.Td>
                  </Table.Tr>
                ))}
              </Grid>
            </>
          );
        }}
      </Loaded>
      <Forget opened={isForgetting} onClose={() => setForgetting(false)} />
    </Stack>
  );
}

function Tile({ name, value, note, share }: { name: string; value: string; note: string; share?: number }) {
  return (
    <div className="tile">
      <div className="tile-name">{name}</div><div className="tile-value">{value}</div><div className="tile-note">{note}</div>
      {share !== undefined && <div className="meter" role="meter" aria-label={name} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(100 * share)} style={{ marginTop: 6 }}><span style={{ width: `${Math.min(100, 100 * share)}%`, background: share > 0.9 ? 'var(--warn)' : 'var(--fine)' }} /></div>}
    </div>
  );
}

function Forget({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const words = useWords();
  const models = useQuery(lists.models);
  const [model, setModel] = useState('');
  const [minutes, setMinutes] = useState<number | string>('');
  const [expired, setExpired] = useState(false);
  const forget = useMutation({
    mutationFn: () => take(api.DELETE('/sluice/v1/cache', { params: { query: { ...(model.trim() && { model: model.trim() }), ...(typeof minutes === 'number' && minutes > 0 && { older_than_ms: Math.round(minutes * 60_000) }), ...(expired && { expired }) } } })),
    onSuccess: (r) => { notifications.show({ message: `${words.forgotten}: ${r.forgotten}`, color: 'teal' }); onClose(); },
  });
  return (
    <Confirm title={words.forgetAnswers} opened={opened} busy={forget.isPending} error={forget.error} onClose={() => { forget.reset(); onClose(); }} onDo={() => forget.mutate()} word={words.forgetThem}>
      <Text size="sm">{words.forgetHint}</Text>
      <Autocomplete label={words.onlyOfModel} value={model} onChange={setModel} data={(models.data ?? []).map((m) => m.name)} limit={30} placeholder={words.all} classNames={{ input: 'mono' }} />
      <NumberInput label={words.onlyOlder} value={minutes} onChange={setMinutes} min={1} allowDecimal={false} hideControls placeholder={words.all} />
      <Switch label={words.onlyExpired} checked={expired} onChange={(e) => setExpired(e.currentTarget.checked)} />
    </Confirm>
  );
}
