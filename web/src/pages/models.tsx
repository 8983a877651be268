// Served models: names that clients ask for, and where each leads.
import { ActionIcon, Badge, Button, Chip, Group, Modal, MultiSelect, NumberInput, Paper, Select, Stack, Switch, Table, Tabs, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconPencil, IconPlayerPlay, IconPlus, IconSearch, IconStack2, IconTrash, IconX } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { api, type ServedModel, take } from '../api/client';
import { ask } from '../api/chat';
import { lists } from '../api/lists';
import { useWords } from '../i18n';
import { span } from '../parts/format';
import { Confirm, Empty, Failure, Loaded, Origin, Page } from '../parts/pieces';

const capabilities = ['text', 'vision', 'tools', 'reasoning', 'embedding', 'audio', 'image', 'rerank', 'moderation'];
const shown = 200;

export default function Models() {
  const words = useWords();
  const models = useQuery(lists.models);
  const [tab, setTab] = useState('*');
  const [text, setText] = useState('');
  const [only, setOnly] = useState<string[]>([]);
  const [edited, setEdited] = useState<ServedModel | 'new' | null>(null);
  const [doomed, setDoomed] = useState<ServedModel | null>(null);
  const remove = useMutation({
    mutationFn: (name: string) => take(api.DELETE('/sluice/v1/models/{name}', { params: { path: { name } } })), onSuccess: () => setDoomed(null),
  });
  const byProvider = useMemo(() => {
    const found = new Map<string, ServedModel[]>();
    for (const m of models.data ?? [])
      for (const p of new Set(m.targets.map((t) => t.provider))) found.set(p, [...(found.get(p) ?? []), m]);
    return [...found].sort(([a], [b]) => a.localeCompare(b));
  }, [models.data]);
  const add = <Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => setEdited('new')}>{words.addModel}</Button>;
  const wanted = text.trim().toLowerCase();
  const fits = (m: ServedModel) => (tab === '*' || m.targets.some((t) => t.provider === tab)) && only.every((c) => m.capabilities.includes(c)) &&
    `${m.name} ${m.targets.map((t) => `${t.provider}/${t.upstream_model}`).join(' ')}`.toLowerCase().includes(wanted);
  return (
    <Page title={words.models} actions={add} calls={[{ method: 'GET', path: '/sluice/v1/models' },
      { method: 'POST', path: '/sluice/v1/models', body: { name: 'coder', targets: [{ provider: 'work', upstream_model: 'qwen3-coder' }] } }]}>
      <Loaded query={models}>
        {(all) => {
          if (all.length === 0) return <Empty icon={<IconStack2 size={40} />} title={words.noModels} hint={words.noModelsHint} action={add} />;
          const rows = all.filter(fits);
          return (
            <Stack>
              <Tabs value={tab} onChange={(t) => setTab(t ?? '*')} variant="outline">
                <Tabs.List>
                  <Tabs.Tab value="*" rightSection={<Tally of={all} />}>{words.all}</Tabs.Tab>
                  {byProvider.map(([p, list]) => <Tabs.Tab key={p} value={p} rightSection={<Tally of={list} />}>{p}</Tabs.Tab>)}
                </Tabs.List>
              </Tabs>
              <Group gap="xs">
                <TextInput placeholder={words.search} aria-label={words.search} leftSection={<IconSearch size={16} />} value={text}
                  onChange={(e) => setText(e.currentTarget.value)} w={{ base: '100%', xs: 280 }} />
                <Chip.Group multiple value={only} onChange={setOnly}>
                  {capabilities.slice(0, 5).map((c) => <Chip key={c} value={c} size="xs">{c}</Chip>)}
                </Chip.Group>
                <Text size="sm" c="dimmed" role="status">{rows.length} {words.results}</Text>
              </Group>
              <Paper withBorder>
                <Table.ScrollContainer minWidth={760}>
                  <Table verticalSpacing="xs" highlightOnHover>
                    <Table.Thead>
                      <Table.Tr>
                        <Table.Th>{words.model}</Table.Th><Table.Th>{words.targets}</Table.Th><Table.Th>{words.capabilities}</Table.Th>
                        <Table.Th ta="right">{words.context}</Table.Th><Table.Th>{words.enabled}</Table.Th><Table.Th aria-label={words.actions} />
                      </Table.Tr>
                    </Table.Thead>
                    <Table.Tbody>
                      {rows.slice(0, shown).map((m) => <ModelRow key={m.name} m={m} onEdit={() => setEdited(m)} onDelete={() => setDoomed(m)} />)}
                    </Table.Tbody>
                  </Table>
                </Table.ScrollContainer>
              </Paper>
            </Stack>
          );
        }}
      </Loaded>
      {edited && <ModelForm old={edited === 'new' ? null : edited} onClose={() => setEdited(null)} />}
      <Confirm title={words.deleteModel} opened={doomed !== null} busy={remove.isPending} error={remove.error} onClose={() => setDoomed(null)}
        onDo={() => doomed && remove.mutate(doomed.name)}>
        <Text><b>{doomed?.name}</b>: {words.deleteModelHint}</Text>
      </Confirm>
    </Page>
  );
}

function Tally({ of }: { of: ServedModel[] }) {
  return <Badge size="xs" variant="default">{of.filter((m) => m.enabled).length}/{of.length}</Badge>;
}

function ModelRow({ m, onEdit, onDelete }: { m: ServedModel; onEdit: () => void; onDelete: () => void }) {
  const words = useWords();
  const change = useMutation({
    mutationFn: (enabled: boolean) => take(api.PATCH('/sluice/v1/models/{name}', { params: { path: { name: m.name } }, body: { enabled } })),
    onError: (e) => notifications.show({ title: m.name, message: e.message, color: 'red' }),
  });
  const test = useMutation({
    mutationFn: () => ask({ model: m.name, maxTokens: 16, messages: [{ role: 'user', content: 'Say hello.' }] }),
    onSuccess: (a) => notifications.show({ title: `${m.name}: ${words.answered} ${span(a.totalUs)}`, message: (a.text || a.thinking).slice(0, 200), color: 'teal' }),
    onError: (e) => notifications.show({ title: m.name, message: e.message, color: 'red' }),
  });
  return (
    <Table.Tr opacity={m.enabled ? 1 : 0.6}>
      <Table.Td><Group gap={8}><Text fw={600} size="sm" className="mono">{m.name}</Text><Origin from={m.origin} /></Group></Table.Td>
      <Table.Td>{m.targets.map((t) => <Text key={`${t.provider}/${t.upstream_model}`} size="xs" className="mono">{t.provider}/{t.upstream_model}</Text>)}</Table.Td>
      <Table.Td><Group gap={4}>{m.capabilities.map((c) => <Badge key={c} variant="light" size="xs" tt="none">{c}</Badge>)}</Group></Table.Td>
      <Table.Td ta="right"><Text size="sm">{m.context_tokens > 0 ? m.context_tokens.toLocaleString() : '–'}</Text></Table.Td>
      <Table.Td><Switch checked={m.enabled} onChange={(e) => change.mutate(e.currentTarget.checked)} aria-label={`${words.enabled} ${m.name}`} /></Table.Td>
      <Table.Td>
        <Group gap={2} justify="flex-end" wrap="nowrap">
          <ActionIcon variant="subtle" loading={test.isPending} onClick={() => test.mutate()} aria-label={`${words.test} ${m.name}`}><IconPlayerPlay size={16} /></ActionIcon>
          <ActionIcon variant="subtle" color="gray" onClick={onEdit} aria-label={`${words.edit} ${m.name}`}><IconPencil size={16} /></ActionIcon>
          <ActionIcon variant="subtle" color="red" onClick={onDelete} aria-label={`${words.delete} ${m.name}`}><IconTrash size={16} /></ActionIcon>
        </Group>
      </Table.Td>
    </Table.Tr>
  );
}

function ModelForm({ old, onClose }: { old: ServedModel | null; onClose: () => void }) {
  const words = useWords();
  const providers = useQuery(lists.providers);
  const [name, setName] = useState(old?.name ?? '');
  const [targets, setTargets] = useState(old?.targets.map((t) => ({ provider: t.provider, upstream_model: t.upstream_model })) ?? [{ provider: '', upstream_model: '' }]);
  const [caps, setCaps] = useState(old?.capabilities ?? ['text']);
  const [context, setContext] = useState<number | string>(old && old.context_tokens > 0 ? old.context_tokens : '');
  const [longest, setLongest] = useState<number | string>(old && old.max_output_tokens > 0 ? old.max_output_tokens : '');
  const save = useMutation({
    mutationFn: async () => {
      const body = {
        targets: targets.filter((t) => t.provider), capabilities: caps,
        ...(typeof context === 'number' && { context_tokens: context }), ...(typeof longest === 'number' && { max_output_tokens: longest }),
      };
      if (old) await take(api.PATCH('/sluice/v1/models/{name}', { params: { path: { name: old.name } }, body }));
      else await take(api.POST('/sluice/v1/models', { body: { name, ...body } }));
    },
    onSuccess: onClose,
  });
  const put = (i: number, change: Partial<(typeof targets)[number]>) => setTargets(targets.map((t, k) => (k === i ? { ...t, ...change } : t)));
  return (
    <Modal opened onClose={onClose} title={old ? `${words.edit}: ${old.name}` : words.addModel} size="lg">
      <form onSubmit={(e) => { e.preventDefault(); save.mutate(); }}>
        <Stack>
          <TextInput label={words.modelName} value={name} onChange={(e) => setName(e.currentTarget.value)} required disabled={old !== null} className="mono" data-autofocus />
          <Stack gap={6}>
            <Text size="sm" fw={500}>{words.targets} <Text span size="xs" c="dimmed">{words.targetsHint}</Text></Text>
            {targets.map((t, i) => (
              <Group key={i} gap={6} wrap="nowrap">
                <Select aria-label={`${words.provider} ${i + 1}`} placeholder={words.provider} data={providers.data?.map((p) => p.name) ?? []} value={t.provider || null}
                  onChange={(p) => put(i, { provider: p ?? '' })} searchable flex={1} required={i === 0} />
                <TextInput aria-label={`${words.upstreamModel} ${i + 1}`} placeholder={words.upstreamModel} value={t.upstream_model}
                  onChange={(e) => put(i, { upstream_model: e.currentTarget.value })} flex={1} />
                <ActionIcon variant="subtle" color="gray" onClick={() => setTargets(targets.filter((_, k) => k !== i))} disabled={targets.length === 1}
                  aria-label={`${words.delete} ${i + 1}`}><IconX size={16} /></ActionIcon>
              </Group>
            ))}
            <Button variant="subtle" size="xs" leftSection={<IconPlus size={14} />} onClick={() => setTargets([...targets, { provider: '', upstream_model: '' }])}
              style={{ alignSelf: 'flex-start' }}>{words.addTarget}</Button>
          </Stack>
          <MultiSelect label={words.capabilities} data={capabilities} value={caps} onChange={setCaps} />
          <Group grow>
            <NumberInput label={words.context} value={context} onChange={setContext} min={1} thousandSeparator=" " hideControls />
            <NumberInput label={words.maxOutput} value={longest} onChange={setLongest} min={1} thousandSeparator=" " hideControls />
          </Group>
          {save.error && <Failure error={save.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>{words.cancel}</Button>
            <Button type="submit" loading={save.isPending} disabled={!name || !targets.some((t) => t.provider)}>{old ? words.save : words.add}</Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
