// Other names for models: exact ones and patterns, in the order in which they are tried.
import { ActionIcon, Button, Group, NumberInput, Paper, Stack, Switch, Table, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconPlus, IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { api, take } from '../api/client';
import { lists } from '../api/lists';
import { useWords } from '../i18n';
import { Failure, Loaded, Origin } from './pieces';

export function Aliases() {
  const words = useWords();
  const [alias, setAlias] = useState('');
  const [to, setTo] = useState('');
  const [priority, setPriority] = useState<number | string>('');
  const tell = (e: Error) => notifications.show({ title: words.failed, message: e.message, color: 'red' });
  const add = useMutation({
    mutationFn: () => take(api.POST('/sluice/v1/aliases', { body: { alias: alias.trim(), to: to.trim(), ...(typeof priority === 'number' && { priority }) } })),
    onSuccess: () => { setAlias(''); setTo(''); setPriority(''); },
  });
  const change = useMutation({ mutationFn: ({ name, enabled }: { name: string; enabled: boolean }) => take(api.PATCH('/sluice/v1/aliases/{alias}', { params: { path: { alias: name } }, body: { enabled } })), onError: tell });
  const remove = useMutation({ mutationFn: (name: string) => take(api.DELETE('/sluice/v1/aliases/{alias}', { params: { path: { alias: name } } })), onError: tell });
  return (
    <Stack gap="sm">
      <Text size="sm" c="dimmed">{words.aliasesHint}</Text>
      <form onSubmit={(e) => { e.preventDefault(); add.mutate(); }}>
        <Group gap="xs" align="flex-end">
          <TextInput size="xs" label={words.alias} placeholder="gpt-4*" value={alias} onChange={(e) => setAlias(e.currentTarget.value)} required w={{ base: '100%', xs: 220 }} />
          <TextInput size="xs" label={words.standsFor} placeholder="provider/model" value={to} onChange={(e) => setTo(e.currentTarget.value)} required w={{ base: '100%', xs: 260 }} />
          <NumberInput size="xs" label={words.priority} value={priority} onChange={setPriority} w={90} hideControls />
          <Button size="xs" type="submit" leftSection={<IconPlus size={14} />} loading={add.isPending} disabled={!alias.trim() || !to.trim()}>{words.add}</Button>
        </Group>
      </form>
      {add.error && <Failure error={add.error} />}
      <Loaded query={useQuery(lists.aliases)}>
        {(all) => all.length === 0 ? null : (
          <Paper withBorder>
            <Table.ScrollContainer minWidth={420}>
              <Table fz="sm" verticalSpacing={6}>
                <Table.Thead><Table.Tr><Table.Th>{words.alias}</Table.Th><Table.Th>{words.standsFor}</Table.Th><Table.Th ta="right">{words.priority}</Table.Th><Table.Th>{words.enabled}</Table.Th><Table.Th aria-label={words.actions} /></Table.Tr></Table.Thead>
                <Table.Tbody>
                  {all.map((a) => (
                    <Table.Tr key={a.alias}>
                      <Table.Td><span className="mono">{a.alias}</span> <Origin from={a.origin} /></Table.Td>
                      <Table.Td><span className="mono">{a.to}</span></Table.Td>
                      <Table.Td ta="right" className="num">{a.priority}</Table.Td>
                      <Table.Td><Switch size="xs" checked={a.enabled} onChange={(e) => change.mutate({ name: a.alias, enabled: e.currentTarget.checked })} aria-label={`${words.enabled} ${a.alias}`} /></Table.Td>
                      <Table.Td ta="right"><ActionIcon variant="subtle" color="red" size="sm" loading={remove.isPending && remove.variables === a.alias} onClick={() => remove.mutate(a.alias)} aria-label={`${words.delete} ${a.alias}`}><IconTrash size={15} /></ActionIcon></Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
            </Table.ScrollContainer>
          </Paper>
        )}
      </Loaded>
    </Stack>
  );
}
