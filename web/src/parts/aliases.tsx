// Other names for models: exact ones and patterns, in the order in which they are tried.
import { ActionIcon, Button, Group, NumberInput, Paper, Stack, Switch, Table, Text, TextInput } from '@mantine/core';
import { IconPlus, IconTag, IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useSearchParams } from 'wouter';
import { type Alias, lists } from '../api/lists';
import { api, take } from '../api/client';
import { useWords } from '../i18n';
import { useAsSeen } from './as-seen';
import { Dialog } from './dialog';
import { Confirm } from './dialogs';
import { Edited } from './edited';
import { Guard } from './guard';
import { Empty, Failure, Loaded, Origin } from './pieces';

const pathOf = (alias: string) => `/sluice/v1/aliases/${encodeURIComponent(alias)}`;

export function Aliases() {
  const words = useWords();
  const [search, setSearch] = useSearchParams();
  const aliases = useQuery(lists.aliases);
  const [doomed, setDoomed] = useState<Alias | null>(null);
  const remove = useMutation({ mutationFn: (alias: string) => take(api.DELETE('/sluice/v1/aliases/{alias}', { params: { path: { alias } } })), onSuccess: () => setDoomed(null) });
  const open = (alias: string | null) => setSearch((old) => { const next = new URLSearchParams(old); if (alias === null) next.delete('alias'); else next.set('alias', alias); return next; });
  const asked = search.get('alias');
  const edited = asked ? aliases.data?.find((a) => a.alias === asked) : undefined;
  return (
    <Stack gap="sm">
      <Group justify="space-between"><Text size="sm" c="dimmed" flex={1} miw={200}>{words.aliasesHint}</Text><Guard><Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => open('')}>{words.addAlias}</Button></Guard></Group>
      <Loaded query={aliases}>
        {(all) => all.length === 0 ? <Paper withBorder><Empty icon={<IconTag size={36} />} title={words.noAliases} hint={words.noAliasesHint} /></Paper> : (
          <Paper withBorder>
            <Table.ScrollContainer minWidth={420}>
              <Table fz="sm" verticalSpacing={6}>
                <Table.Thead><Table.Tr><Table.Th>{words.alias}</Table.Th><Table.Th>{words.standsFor}</Table.Th><Table.Th ta="right">{words.priority}</Table.Th><Table.Th>{words.enabled}</Table.Th><Table.Th aria-label={words.actions} /></Table.Tr></Table.Thead>
                <Table.Tbody>{all.map((a) => <Row key={a.alias} a={a} onOpen={() => open(a.alias)} onDelete={() => setDoomed(a)} />)}</Table.Tbody>
              </Table>
            </Table.ScrollContainer>
          </Paper>
        )}
      </Loaded>
      {asked === '' && <AliasForm old={null} onClose={() => open(null)} />}
      {edited && <Edited key={edited.alias} path={pathOf(edited.alias)} seen={edited}><AliasForm old={edited} onClose={() => open(null)} /></Edited>}
      <Confirm path={doomed ? pathOf(doomed.alias) : undefined} title={words.deleteAlias} opened={doomed !== null} busy={remove.isPending} error={remove.error} onClose={() => { remove.reset(); setDoomed(null); }} onDo={() => doomed && remove.mutate(doomed.alias)}>
        <Text><b className="mono">{doomed?.alias}</b> → <span className="mono">{doomed?.to}</span>: {words.deleteModelHint}</Text>
      </Confirm>
    </Stack>
  );
}

function Row({ a, onOpen, onDelete }: { a: Alias; onOpen: () => void; onDelete: () => void }) {
  const words = useWords();
  const { run, dialog } = useAsSeen<Alias>({
    nameOf: (x) => x.alias, pathOf: (x) => pathOf(x.alias), change: ({ alias }, enabled) => take(api.PATCH('/sluice/v1/aliases/{alias}', { params: { path: { alias } }, body: { enabled } })),
  });
  return (
    <Table.Tr>
      <Table.Td><button type="button" className="vt-sort mono" onClick={onOpen}>{a.alias}</button> <Origin from={a.origin} /></Table.Td>
      <Table.Td><span className="mono">{a.to}</span></Table.Td>
      <Table.Td ta="right" className="num">{a.priority}</Table.Td>
      <Table.Td><Guard><Switch size="xs" checked={a.enabled} onChange={(e) => run([a], e.currentTarget.checked)} aria-label={`${words.enabled} ${a.alias}`} /></Guard>{dialog}</Table.Td>
      <Table.Td ta="right"><Guard><ActionIcon variant="subtle" color="red" size="sm" onClick={onDelete} aria-label={`${words.delete} ${a.alias}`}><IconTrash size={15} /></ActionIcon></Guard></Table.Td>
    </Table.Tr>
  );
}

function AliasForm({ old, onClose }: { old: Alias | null; onClose: () => void }) {
  const words = useWords();
  const [alias, setAlias] = useState(old?.alias ?? '');
  const [to, setTo] = useState(old?.to ?? '');
  const [priority, setPriority] = useState<number | string>(old?.priority ?? '');
  const save = useMutation({
    mutationFn: async () => {
      const body = { to: to.trim(), priority: typeof priority === 'number' ? priority : 0 };
      if (old) await take(api.PATCH('/sluice/v1/aliases/{alias}', { params: { path: { alias: old.alias } }, body }));
      else await take(api.POST('/sluice/v1/aliases', { body: { alias: alias.trim(), ...body } }));
    },
    onSuccess: onClose,
  });
  return (
    <Dialog onClose={onClose} title={old ? `${words.edit}: ${old.alias}` : words.addAlias}>
      <Guard isForm><form onSubmit={(e) => { e.preventDefault(); save.mutate(); }}>
        <Stack>
          <TextInput label={words.alias} placeholder="gpt-4*" value={alias} onChange={(e) => setAlias(e.currentTarget.value)} required disabled={old !== null} classNames={{ input: 'mono' }} data-autofocus={old ? undefined : true} />
          <TextInput label={words.standsFor} placeholder="provider/model" value={to} onChange={(e) => setTo(e.currentTarget.value)} required classNames={{ input: 'mono' }} data-autofocus={old ? true : undefined} />
          <NumberInput label={words.priority} value={priority} onChange={setPriority} hideControls placeholder="0" />
          {save.error && <Failure error={save.error} overwrite={() => save.mutate()} />}
          <Group justify="flex-end" gap="xs"><Button variant="default" onClick={onClose}>{words.cancel}</Button><Button type="submit" loading={save.isPending} disabled={!alias.trim() || !to.trim()}>{old ? words.save : words.add}</Button></Group>
        </Stack>
      </form></Guard>
    </Dialog>
  );
}
