// Which addresses may come in: the filter of all requests, and bans for a time.
import { Button, Group, NumberInput, Paper, Select, SimpleGrid, Stack, Table, TagsInput, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconBan } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { ApiError, api, take } from '../api/client';
import { type Filter, objects } from '../api/objects';
import { useWords } from '../i18n';
import { Confirm } from '../parts/dialogs';
import { Edited } from '../parts/edited';
import { Empty, Failure, Loaded, When } from '../parts/pieces';
import { Grid } from '../parts/grid';
import { Guard } from '../parts/guard';

const modes = ['off', 'deny', 'allow', 'both'] as const;
type Mode = (typeof modes)[number];
const path = '/sluice/v1/ip-filter';
const units = { minutes: 60_000, hours: 3_600_000, days: 86_400_000 } as const;
type Unit = keyof typeof units;

export function AddressFilter() {
  const filter = useQuery(objects.filter);
  return <Stack gap="md"><Loaded query={filter}>{(f) => <Edited path={path} seen={f}><Form old={f} /></Edited>}</Loaded><Bans /></Stack>;
}

function Form({ old }: { old: Filter }) {
  const words = useWords();
  const [mode, setMode] = useState<string>(old.mode ?? 'off');
  const [allow, setAllow] = useState<string[]>(old.allow ?? []);
  const [deny, setDeny] = useState<string[]>(old.deny ?? []);
  const [isSure, setSure] = useState(false);
  const save = useMutation({
    mutationFn: (force: boolean) => take(api.PUT(path, { params: { query: force ? { force } : {} }, body: { mode, allow, deny } })),
    onSuccess: () => { setSure(false); notifications.show({ message: `${words.saved}: ${words.addressFilter}`, color: 'teal' }); },
    onError: (e) => { if (e instanceof ApiError && e.code === 'locks_you_out') setSure(true); },
  });
  const locks = save.error instanceof ApiError && save.error.code === 'locks_you_out';
  const isAsWas = mode === old.mode && JSON.stringify([allow, deny]) === JSON.stringify([old.allow, old.deny]);
  return (
    <Paper withBorder p="md" component="section" aria-label={words.addressFilter}>
      <Guard isForm><form onSubmit={(e) => { e.preventDefault(); save.mutate(false); }}>
        <Stack gap="sm">
          <Select label={words.whoMayComeIn} value={mode} onChange={(m) => m && setMode(m)} data={modes.map((m) => ({ value: m, label: words[`filter_${m}`] }))} description={words[`filterHint_${mode as Mode}`]} allowDeselect={false} maw={480} />
          <SimpleGrid cols={{ base: 1, sm: 2 }} spacing="md">
            <TagsInput label={words.allowedAddresses} description={words.addressesHint} value={allow} onChange={setAllow} disabled={mode === 'off' || mode === 'deny'} placeholder={allow.length ? '' : '10.0.0.0/8'} classNames={{ pill: 'mono' }} />
            <TagsInput label={words.deniedAddresses} description={words.addressesHint} value={deny} onChange={setDeny} disabled={mode === 'off' || mode === 'allow'} placeholder={deny.length ? '' : '2001:db8::/32'} classNames={{ pill: 'mono' }} />
          </SimpleGrid>
          {save.error && !locks && <Failure error={save.error} overwrite={() => save.mutate(false)} />}
          <Group justify="flex-end"><Button type="submit" loading={save.isPending} disabled={isAsWas}>{words.save}</Button></Group>
        </Stack>
      </form></Guard>
      <Confirm title={words.locksYouOut} opened={isSure} busy={save.isPending} error={locks ? null : save.error} onClose={() => { setSure(false); save.reset(); }} onDo={() => save.mutate(true)} word={words.saveAnyway}>
        <Text size="sm">{words.locksYouOutHint}</Text>
      </Confirm>
    </Paper>
  );
}

function Bans() {
  const words = useWords();
  const bans = useQuery(objects.bans);
  const [address, setAddress] = useState('');
  const [reason, setReason] = useState('');
  const [n, setN] = useState<number | string>(1);
  const [unit, setUnit] = useState<Unit>('hours');
  const ban = useMutation({
    mutationFn: () => take(api.POST('/sluice/v1/ip-filter/bans', { body: { address: address.trim(), reason: reason.trim(), duration_ms: Math.round(Number(n) * units[unit]) } })),
    onSuccess: (b) => { notifications.show({ message: `${words.banned}: ${b.address}`, color: 'teal' }); setAddress(''); setReason(''); },
  });
  const lift = useMutation({
    mutationFn: (of: string) => take(api.DELETE('/sluice/v1/ip-filter/bans/{address}', { params: { path: { address: of } } })),
    onSuccess: (_, of) => notifications.show({ message: `${words.banLifted}: ${of}`, color: 'teal' }),
  });
  const unitWords = { minutes: words.minutes, hours: words.hours, days: words.days };
  return (
    <Stack gap="sm" component="section" aria-label={words.bans}>
      <div><Text fw={600} size="sm">{words.bans}</Text><Text size="sm" c="dimmed">{words.bansHint}</Text></div>
      <Guard isForm><form onSubmit={(e) => { e.preventDefault(); ban.mutate(); }}>
        <Group gap={8} align="flex-end">
          <TextInput size="xs" label={words.address} value={address} onChange={(e) => setAddress(e.currentTarget.value)} placeholder="203.0.113.7" classNames={{ input: 'mono' }} w={{ base: '100%', xs: 190 }} />
          <NumberInput size="xs" label={words.howLong} value={n} onChange={setN} min={1} max={10_000} w={80} hideControls />
          <Select size="xs" aria-label={words.unit} value={unit} onChange={(u) => u && setUnit(u as Unit)} data={(Object.keys(units) as Unit[]).map((u) => ({ value: u, label: unitWords[u] }))} allowDeselect={false} w={110} />
          <TextInput size="xs" label={words.why} value={reason} onChange={(e) => setReason(e.currentTarget.value)} maxLength={200} flex="1 1 160px" />
          <Button size="xs" type="submit" leftSection={<IconBan size={14} />} loading={ban.isPending} disabled={!address.trim() || typeof n !== 'number'}>{words.ban}</Button>
        </Group>
      </form></Guard>
      {ban.error && <Failure error={ban.error} />}
      {lift.error && <Failure error={lift.error} />}
      <Loaded query={bans}>
        {(all) => all.length === 0 ? <Paper withBorder><Empty icon={<IconBan size={36} />} title={words.noBans} hint={words.noBansHint} /></Paper> : (
          <Grid head={[words.address, words.why, words.created, words.ends, '']}>
            {all.map((b) => (
              <Table.Tr key={b.address}>
                <Table.Td><span className="mono">{b.address}</span></Table.Td><Table.Td><Text size="sm" lineClamp={2} title={b.reason}>{b.reason || '–'}</Text></Table.Td>
                <Table.Td><When iso={b.created_at} /></Table.Td><Table.Td><When iso={b.until} /></Table.Td>
                <Table.Td ta="right"><Button size="compact-xs" variant="default" loading={lift.isPending && lift.variables === b.address} onClick={() => lift.mutate(b.address)} aria-label={`${words.liftBan} ${b.address}`}>{words.liftBan}</Button></Table.Td>
              </Table.Tr>
            ))}
          </Grid>
        )}
      </Loaded>
    </Stack>
  );
}
