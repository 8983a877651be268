// Whether the ledger holds: every line computed again; and a span priced again at what is known now, looked at before it is written.
import { Button, Group, Paper, Select, SimpleGrid, Stack, Text, TextInput, Autocomplete } from '@mantine/core';
import { IconChecks, IconCoins } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'wouter';
import { api, take } from '../api/client';
import { bounds, type Span, spans } from '../api/costs';
import { lists } from '../api/lists';
import type { Check } from '../api/objects';
import { useSpeech, useWords } from '../i18n';
import { Confirm } from '../parts/dialogs';
import { count, money } from '../parts/format';
import { Failure } from '../parts/pieces';
import { Guard } from '../parts/guard';

const everything = 'all';
const day = (at: Date) => new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 10);
const signed = (nanousd: number) => (nanousd > 0 ? `+${money(nanousd)}` : money(nanousd));

export function Ledger() {
  return <Stack gap="md"><Verify /><Reprice /></Stack>;
}

function Figure({ name, value, note, is }: { name: string; value: string; note?: string; is?: 'fine' | 'bad' | 'warn' }) {
  return <div className="tile"><div className="tile-name">{name}</div><div className="tile-value" style={is ? { color: `var(--${is}-text)` } : undefined}>{value}</div>{note && <div className="tile-note">{note}</div>}</div>;
}

function Verify() {
  const words = useWords();
  const [span, setSpan] = useState<string>(everything);
  const verify = useMutation({
    mutationFn: () => {
      const within = span === everything ? null : bounds(span as Span, new Date());
      return take(api.GET('/sluice/v1/ledger/verify', { params: { query: within ? { from: within.from.toISOString(), to: within.to.toISOString() } : {} } }));
    },
  });
  return (
    <Paper withBorder component="section" aria-label={words.verifyLedger}>
      <Group justify="space-between" gap="sm" p="md" align="flex-end">
        <div style={{ flex: '1 1 260px', minWidth: 0 }}><Text fw={600} size="sm">{words.verifyLedger}</Text><Text size="sm" c="dimmed">{words.verifyHint}</Text></div>
        <Group gap={8}>
          <Select size="xs" aria-label={words.time} value={span} onChange={(v) => v && setSpan(v)} data={[{ value: everything, label: words.anyTime }, ...spans.map((s) => ({ value: s as string, label: words[`span_${s}`] }))]} allowDeselect={false} w={150} />
          <Button size="xs" leftSection={<IconChecks size={14} />} loading={verify.isPending} onClick={() => verify.mutate()}>{words.verify}</Button>
        </Group>
      </Group>
      {verify.error && <Failure error={verify.error} retry={() => verify.mutate()} />}
      {verify.data && <Verified c={verify.data} />}
    </Paper>
  );
}

function Verified({ c }: { c: Check }) {
  const { words, language } = useSpeech();
  return (
    <div role="status">
      <Text size="sm" px="md" pb="sm"><span className="status" data-is={c.ok ? 'fine' : 'bad'}>{c.ok ? words.ledgerHolds : words.ledgerDiffers}</span>{c.first_wrong !== null && <Text span size="sm"> {words.firstWrong} <span className="mono">{c.first_wrong}</span></Text>}</Text>
      <div className="tiles">
        <Figure name={words.linesChecked} value={count(c.lines, language)} note={c.unpriced > 0 ? `${count(c.unpriced, language)} ${words.unpricedNote}` : ''} />
        <Figure name={words.asItStands} value={money(c.total_nanousd)} note={c.corrections > 0 ? `${count(c.corrections, language)} ${words.correctionsBeside}` : ''} />
        <Figure name={words.asComputed} value={money(c.recomputed_nanousd)} note={c.missing_prices > 0 ? `${count(c.missing_prices, language)} ${words.priceNotKept}` : ''} />
        <Figure name={words.wrongLines} value={count(c.wrong, language)} is={c.wrong > 0 ? 'bad' : 'fine'} />
        <Figure name={words.wrongHours} value={count(c.wrong_hours, language)} is={c.wrong_hours > 0 ? 'bad' : 'fine'} />
      </div>
    </div>
  );
}

function Reprice() {
  const { words, language } = useSpeech();
  const models = useQuery(lists.models);
  const [from, setFrom] = useState(() => day(new Date(new Date().getFullYear(), new Date().getMonth(), 1)));
  const [until, setUntil] = useState(() => day(new Date()));
  const [model, setModel] = useState('');
  const [isSure, setSure] = useState(false);
  const reprice = useMutation({
    mutationFn: (isDry: boolean) => {
      const [y, m, d] = until.split('-').map(Number) as [number, number, number];
      return take(api.POST('/sluice/v1/ledger/reprice', { body: { from: new Date(`${from}T00:00`).toISOString(), to: new Date(y, m - 1, d + 1).toISOString(), ...(model.trim() && { model: model.trim() }), dry_run: isDry } }));
    },
    onSuccess: (r) => { if (!r.dry_run) setSure(false); },
  });
  const r = reprice.data;
  const put = (set: (v: string) => void) => (v: string) => { set(v); reprice.reset(); }; // what was found was of another span
  const difference = r ? r.after_nanousd - r.before_nanousd : 0;
  return (
    <Paper withBorder component="section" aria-label={words.reprice}>
      <form onSubmit={(e) => { e.preventDefault(); reprice.mutate(true); }}>
        <Stack gap="sm" p="md">
          <div><Text fw={600} size="sm">{words.reprice}</Text><Text size="sm" c="dimmed">{words.repriceHint} <Link href="/cost/prices" className="quiet">{words.prices}</Link></Text></div>
          <SimpleGrid cols={{ base: 1, xs: 2, md: 4 }} spacing="xs" style={{ alignItems: 'end' }}>
            <TextInput size="xs" type="date" label={words.from} value={from} onChange={(e) => put(setFrom)(e.currentTarget.value)} required />
            <TextInput size="xs" type="date" label={words.untilDay} value={until} onChange={(e) => put(setUntil)(e.currentTarget.value)} required />
            <Autocomplete size="xs" label={words.model} value={model} onChange={put(setModel)} data={(models.data ?? []).map((m) => m.name)} limit={30} placeholder={words.all} classNames={{ input: 'mono' }} />
            <Button size="xs" variant="default" type="submit" leftSection={<IconCoins size={14} />} loading={reprice.isPending} disabled={!from || !until || from > until}>{words.seeWhatChanges}</Button>
          </SimpleGrid>
          {reprice.error && !isSure && <Failure error={reprice.error} />}
        </Stack>
      </form>
      {r && (
        <div role="status">
          <div className="tiles">
            <Figure name={words.linesChecked} value={count(r.lines, language)} note={r.unknown > 0 ? `${count(r.unknown, language)} ${words.unpricedNote}` : ''} />
            <Figure name={words.otherAmount} value={count(r.changed, language)} />
            <Figure name={words.soFar} value={money(r.before_nanousd)} />
            <Figure name={words.atPricesNow} value={money(r.after_nanousd)} note={signed(difference)} />
          </div>
          <Group justify="space-between" p="md" gap="sm">
            <Text size="sm">{!r.dry_run ? <span className="status" data-is="fine">{words.repriced}</span> : r.changed === 0 ? words.nothingToWrite : ''}</Text>
            {r.dry_run && r.changed > 0 && <Guard><Button size="xs" onClick={() => setSure(true)}>{words.writeDifferences}</Button></Guard>}
          </Group>
        </div>
      )}
      <Confirm title={words.writeDifferences} opened={isSure} busy={reprice.isPending} error={reprice.error} onClose={() => setSure(false)} onDo={() => reprice.mutate(false)} word={words.writeDifferences}>
        <Text size="sm">{words.writeDifferencesHint}</Text>
        {r && <Text size="sm">{count(r.changed, language)} · {money(r.before_nanousd)} → {money(r.after_nanousd)} ({signed(difference)})</Text>}
      </Confirm>
    </Paper>
  );
}
