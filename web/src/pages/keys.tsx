// Client keys: made (and shown once), limited, switched off, revoked.
import { ActionIcon, Alert, Badge, Button, Checkbox, Group, Modal, Paper, Stack, Switch, Table, Tabs, TagsInput, Text, TextInput } from '@mantine/core';
import { IconKey, IconPlus, IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { api, type Key, take } from '../api/client';
import { lists } from '../api/lists';
import { useWords } from '../i18n';
import { Confirm, Empty, Failure, Loaded, Origin, Page, Snippet, When } from '../parts/pieces';
import { snippets } from '../parts/snippets';

export default function Keys() {
  const words = useWords();
  const keys = useQuery(lists.keys);
  const [isAdding, setAdding] = useState(false);
  const [doomed, setDoomed] = useState<Key | null>(null);
  const revoke = useMutation({
    mutationFn: (id: string) => take(api.DELETE('/sluice/v1/keys/{id}', { params: { path: { id } } })), onSuccess: () => setDoomed(null),
  });
  const add = <Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => setAdding(true)}>{words.addKey}</Button>;
  return (
    <Page title={words.keys} actions={add}
      calls={[{ method: 'GET', path: '/sluice/v1/keys' }, { method: 'POST', path: '/sluice/v1/keys', body: { label: 'laptop', scopes: ['inference', 'models'] } }]}>
      <Loaded query={keys}>
        {(all) => all.length === 0 ? <Empty icon={<IconKey size={40} />} title={words.noKeys} hint={words.noKeysHint} action={add} /> : (
          <Paper withBorder>
            <Table.ScrollContainer minWidth={720}>
              <Table verticalSpacing="sm" highlightOnHover>
                <Table.Thead>
                  <Table.Tr>
                    <Table.Th>{words.label}</Table.Th><Table.Th>{words.scopes}</Table.Th><Table.Th>{words.allowedModels}</Table.Th>
                    <Table.Th>{words.created}</Table.Th><Table.Th>{words.expires}</Table.Th><Table.Th>{words.enabled}</Table.Th><Table.Th aria-label={words.actions} />
                  </Table.Tr>
                </Table.Thead>
                <Table.Tbody>{all.map((k) => <KeyRow key={k.id} k={k} onDelete={() => setDoomed(k)} />)}</Table.Tbody>
              </Table>
            </Table.ScrollContainer>
          </Paper>
        )}
      </Loaded>
      <NewKey opened={isAdding} onClose={() => setAdding(false)} />
      <Confirm title={words.deleteKey} opened={doomed !== null} busy={revoke.isPending} error={revoke.error} onClose={() => setDoomed(null)}
        onDo={() => doomed && revoke.mutate(doomed.id)}>
        <Text><b>{doomed?.label || doomed?.id}</b>: {words.deleteKeyHint}</Text>
      </Confirm>
    </Page>
  );
}

function KeyRow({ k, onDelete }: { k: Key; onDelete: () => void }) {
  const words = useWords();
  const change = useMutation({
    mutationFn: (enabled: boolean) => take(api.PATCH('/sluice/v1/keys/{id}', { params: { path: { id: k.id } }, body: { enabled } })),
  });
  return (
    <Table.Tr>
      <Table.Td><Group gap={8}><Text fw={600} size="sm">{k.label || '–'}</Text><Origin from={k.origin} /></Group><Text size="xs" c="dimmed" className="mono">{k.id}</Text></Table.Td>
      <Table.Td><Group gap={4}>{k.scopes.map((s) => <Badge key={s} variant="light" color={s === 'admin' ? 'orange' : 'cyan'} tt="none">{s}</Badge>)}</Group></Table.Td>
      <Table.Td><Text size="sm">{k.allowed_models.join(', ') || words.all}</Text></Table.Td>
      <Table.Td>{k.created_at ? <When iso={k.created_at} /> : '–'}</Table.Td>
      <Table.Td>{k.expires_at ? <When iso={k.expires_at} /> : <Text size="sm" c="dimmed">{words.never}</Text>}</Table.Td>
      <Table.Td><Switch checked={k.enabled} onChange={(e) => change.mutate(e.currentTarget.checked)} aria-label={`${words.enabled} ${k.label || k.id}`} /></Table.Td>
      <Table.Td ta="right"><ActionIcon variant="subtle" color="red" onClick={onDelete} aria-label={`${words.delete} ${k.label || k.id}`}><IconTrash size={16} /></ActionIcon></Table.Td>
    </Table.Tr>
  );
}

function NewKey({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const words = useWords();
  const [label, setLabel] = useState('');
  const [scopes, setScopes] = useState(['inference', 'models']);
  const [allowed, setAllowed] = useState<string[]>([]);
  const [expires, setExpires] = useState('');
  const models = useQuery({ ...lists.models, enabled: opened });
  const create = useMutation({
    mutationFn: () => take(api.POST('/sluice/v1/keys', {
      body: { label, scopes, allowed_models: allowed, expires_at: expires ? new Date(expires).toISOString() : '' },
    })),
  });
  function close() {
    onClose();
    create.reset();
    setLabel('');
    setAllowed([]);
    setExpires('');
  }
  const made = create.data?.key;
  const model = allowed[0] ?? models.data?.[0]?.name ?? 'echo';
  return (
    <Modal opened={opened} onClose={close} title={words.addKey} size="lg" closeOnClickOutside={!made}>
      {made ? (
        <Stack>
          <Alert color="teal" title={words.keyOnce}>{words.keyOnceHint}</Alert>
          <Snippet text={made} />
          <Text fw={600} size="sm">{words.use}</Text>
          <Tabs defaultValue="curl">
            <Tabs.List>{snippets.map((s) => <Tabs.Tab key={s.name} value={s.name}>{s.name}</Tabs.Tab>)}</Tabs.List>
            {snippets.map((s) => <Tabs.Panel key={s.name} value={s.name} pt="xs"><Snippet text={s.text(made, model)} /></Tabs.Panel>)}
          </Tabs>
          <Group justify="flex-end"><Button onClick={close}>{words.close}</Button></Group>
        </Stack>
      ) : (
        <form onSubmit={(e) => { e.preventDefault(); create.mutate(); }}>
          <Stack>
            <TextInput label={words.label} value={label} onChange={(e) => setLabel(e.currentTarget.value)} data-autofocus />
            <Checkbox.Group label={words.scopes} value={scopes} onChange={setScopes}>
              <Group mt={6}>{['inference', 'models', 'admin'].map((s) => <Checkbox key={s} value={s} label={s} />)}</Group>
            </Checkbox.Group>
            <TagsInput label={words.allowedModels} description={words.allowedModelsHint} value={allowed} onChange={setAllowed} data={models.data?.map((m) => m.name) ?? []} />
            <TextInput type="datetime-local" label={words.expires} value={expires} onChange={(e) => setExpires(e.currentTarget.value)} />
            {create.error && <Failure error={create.error} />}
            <Group justify="flex-end">
              <Button variant="default" onClick={close}>{words.cancel}</Button>
              <Button type="submit" loading={create.isPending} disabled={scopes.length === 0}>{words.create}</Button>
            </Group>
          </Stack>
        </form>
      )}
    </Modal>
  );
}
