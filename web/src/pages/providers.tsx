// Providers as cards: what they are, where, with which credential, whether they answer.
import { ActionIcon, Badge, Button, Card, Group, List, Modal, PasswordInput, Select, SimpleGrid, Stack, Switch, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconBuildingWarehouse, IconPencil, IconPlus, IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { api, type Provider, type ServedModel, take } from '../api/client';
import { lists } from '../api/lists';
import { useWords } from '../i18n';
import { Confirm, Empty, Failure, Loaded, Origin, Page } from '../parts/pieces';

/** Models that would be left without any target. */
const orphans = (models: ServedModel[], provider: string) =>
  models.filter((m) => m.targets.length > 0 && m.targets.every((t) => t.provider === provider)).map((m) => m.name);

export default function Providers() {
  const words = useWords();
  const providers = useQuery(lists.providers);
  const models = useQuery(lists.models);
  const [edited, setEdited] = useState<Provider | 'new' | null>(null);
  const [doomed, setDoomed] = useState<Provider | null>(null);
  const remove = useMutation({
    mutationFn: (name: string) => take(api.DELETE('/sluice/v1/providers/{name}', { params: { path: { name }, query: { cascade: true } } })),
    onSuccess: () => setDoomed(null),
  });
  const lost = doomed ? orphans(models.data ?? [], doomed.name) : [];
  const add = <Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => setEdited('new')}>{words.addProvider}</Button>;
  return (
    <Page title={words.providers} actions={add} calls={[{ method: 'GET', path: '/sluice/v1/providers' },
      { method: 'POST', path: '/sluice/v1/providers', body: { name: 'work', type: 'openai-compatible', base_url: 'https://llm.example/v1', api_key: '…' } }]}>
      <Loaded query={providers}>
        {(all) => all.length === 0 ? <Empty icon={<IconBuildingWarehouse size={40} />} title={words.noProviders} hint={words.noProvidersHint} action={add} /> : (
          <SimpleGrid cols={{ base: 1, sm: 2, lg: 3 }}>
            {all.map((p) => (
              <ProviderCard key={p.name} p={p} n={(models.data ?? []).filter((m) => m.targets.some((t) => t.provider === p.name)).length}
                onEdit={() => setEdited(p)} onDelete={() => setDoomed(p)} />
            ))}
          </SimpleGrid>
        )}
      </Loaded>
      {edited && <ProviderForm key={edited === 'new' ? '' : edited.name} old={edited === 'new' ? null : edited} onClose={() => setEdited(null)} />}
      <Confirm title={words.deleteProvider} opened={doomed !== null} busy={remove.isPending} error={remove.error} onClose={() => setDoomed(null)}
        onDo={() => doomed && remove.mutate(doomed.name)}>
        <Text fw={600}>{doomed?.name}</Text>
        <Text size="sm">{lost.length ? words.deletesModels : words.deletesNone}</Text>
        {lost.length > 0 && <List size="sm">{lost.map((m) => <List.Item key={m}>{m}</List.Item>)}</List>}
      </Confirm>
    </Page>
  );
}

function ProviderCard({ p, n, onEdit, onDelete }: { p: Provider; n: number; onEdit: () => void; onDelete: () => void }) {
  const words = useWords();
  const change = useMutation({
    mutationFn: (enabled: boolean) => take(api.PATCH('/sluice/v1/providers/{name}', { params: { path: { name: p.name } }, body: { enabled } })),
    onError: (e) => notifications.show({ title: p.name, message: e.message, color: 'red' }),
  });
  return (
    <Card withBorder padding="md">
      <Stack gap="xs" h="100%">
        <Group justify="space-between" wrap="nowrap">
          <Group gap={8} wrap="nowrap" miw={0}>
            <Initials name={p.name} />
            <Stack gap={0} miw={0}><Text fw={600} truncate>{p.name}</Text><Text size="xs" c="dimmed" truncate>{p.type}</Text></Stack>
          </Group>
          <Switch checked={p.enabled} onChange={(e) => change.mutate(e.currentTarget.checked)} aria-label={`${words.enabled} ${p.name}`} />
        </Group>
        <Text size="xs" c="dimmed" className="mono">{p.base_url || words.local}</Text>
        <Group gap={4}>
          {p.wires.map((w) => <Badge key={w} variant="light" size="sm" tt="none">{w}</Badge>)}
          <Origin from={p.origin} />
        </Group>
        <Group justify="space-between" mt="auto">
          <Text size="xs" c="dimmed">{words.credential}: {p.api_key ? <span className="mono">{p.api_key}</span> : words.noCredential} · {words.models}: {n}</Text>
          <Group gap={2}>
            <ActionIcon variant="subtle" color="gray" onClick={onEdit} aria-label={`${words.edit} ${p.name}`}><IconPencil size={16} /></ActionIcon>
            <ActionIcon variant="subtle" color="red" onClick={onDelete} aria-label={`${words.delete} ${p.name}`}><IconTrash size={16} /></ActionIcon>
          </Group>
        </Group>
      </Stack>
    </Card>
  );
}

const hues = ['cyan', 'indigo', 'grape', 'teal', 'orange', 'pink', 'lime', 'violet'];

function Initials({ name }: { name: string }) {
  const hue = hues[[...name].reduce((sum, ch) => sum + (ch.codePointAt(0) ?? 0), 0) % hues.length];
  return <Badge circle size="xl" color={hue} variant="light" aria-hidden>{[...name].slice(0, 2).join('')}</Badge>;
}

function ProviderForm({ old, onClose }: { old: Provider | null; onClose: () => void }) {
  const words = useWords();
  const kinds = useQuery(lists.kinds);
  const [name, setName] = useState(old?.name ?? '');
  const [type, setType] = useState(old?.type ?? '');
  const [url, setUrl] = useState(old?.base_url ?? '');
  const [key, setKey] = useState('');
  const [proxy, setProxy] = useState('');
  const kind = kinds.data?.find((k) => k.id === type);
  const save = useMutation({
    mutationFn: async () => {
      const body = { type, base_url: url === kind?.base_url ? '' : url, ...(key && { api_key: key }), ...(proxy && { proxy }) };
      if (old) await take(api.PATCH('/sluice/v1/providers/{name}', { params: { path: { name: old.name } }, body }));
      else await take(api.POST('/sluice/v1/providers', { body: { name, ...body } }));
    },
    onSuccess: onClose,
  });
  function choose(id: string | null) {
    const next = kinds.data?.find((k) => k.id === id);
    setType(id ?? '');
    if (!url || url === kind?.base_url) setUrl(next?.base_url ?? '');
    if (!old && (!name || name === type)) setName(id ?? '');
  }
  return (
    <Modal opened onClose={onClose} title={old ? `${words.edit}: ${old.name}` : words.addProvider}>
      <form onSubmit={(e) => { e.preventDefault(); save.mutate(); }}>
        <Stack>
          <Select label={words.kind} data={kinds.data?.map((k) => ({ value: k.id, label: k.title })) ?? []} value={type || null} onChange={choose} searchable required data-autofocus />
          <TextInput label={words.name} value={name} onChange={(e) => setName(e.currentTarget.value)} required disabled={old !== null} />
          <TextInput label={words.baseUrl} value={url} onChange={(e) => setUrl(e.currentTarget.value)} placeholder="https://" className="mono" />
          <PasswordInput label={words.apiKey} value={key} onChange={(e) => setKey(e.currentTarget.value)} description={old?.api_key ? words.keepKey : kind?.key_env}
            autoComplete="off" />
          <TextInput label={words.proxy} value={proxy} onChange={(e) => setProxy(e.currentTarget.value)} placeholder={old?.proxy || 'http://, socks5://'} />
          {save.error && <Failure error={save.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>{words.cancel}</Button>
            <Button type="submit" loading={save.isPending} disabled={!type || !name}>{old ? words.save : words.add}</Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
