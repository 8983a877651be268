// Every setting with its value, where the value stands, and a place to change it.
import { ActionIcon, Button, Group, NumberInput, Paper, Stack, Switch, Tabs, Text, TextInput, Tooltip } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconDeviceFloppy, IconLock, IconRefresh, IconSearch } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { type ComponentType, useState } from 'react';
import { useLocation, useParams, useSearchParams } from 'wouter';
import { api, type Setting, take } from '../api/client';
import { lists } from '../api/lists';
import { useWords } from '../i18n';
import type { Words } from '../i18n/en';
import { Loaded, Origin, Page } from '../parts/pieces';
import { Audit, History, Operators, Sessions } from './record';

const panels: { name: string; word: keyof Words; panel: ComponentType }[] = [
  { name: 'values', word: 'values', panel: Values }, { name: 'history', word: 'history', panel: History },
  { name: 'sessions', word: 'sessions', panel: Sessions }, { name: 'operators', word: 'operators', panel: Operators }, { name: 'audit', word: 'auditLog', panel: Audit },
];

export default function Settings() {
  const words = useWords();
  const { rest } = useParams();
  const [, go] = useLocation();
  const reload = useMutation({
    mutationFn: () => take(api.POST('/sluice/v1/reload')),
    onSuccess: () => notifications.show({ message: words.reloaded, color: 'teal' }),
    onError: (e) => notifications.show({ title: words.failed, message: e.message, color: 'red' }),
  });
  return (
    <Page title={words.settings} calls={[{ method: 'GET', path: '/sluice/v1/settings' }, { method: 'POST', path: '/sluice/v1/reload' }]}
      actions={<Button variant="default" size="xs" leftSection={<IconRefresh size={14} />} loading={reload.isPending}
        onClick={() => reload.mutate()}>{words.reload}</Button>}>
      <Tabs value={rest ?? 'values'} onChange={(t) => go(t && t !== 'values' ? `/settings/${t}` : '/settings')} keepMounted={false}>
        <Tabs.List mb="md">
          {panels.map(({ name, word }) => <Tabs.Tab key={name} value={name}>{words[word]}</Tabs.Tab>)}
        </Tabs.List>
        {panels.map(({ name, panel: Panel }) => <Tabs.Panel key={name} value={name}><Panel /></Tabs.Panel>)}
      </Tabs>
    </Page>
  );
}

function Values() {
  const words = useWords();
  const settings = useQuery(lists.settings);
  const [text, setText] = useState(useSearchParams()[0].get('q') ?? '');
  const wanted = text.trim().toLowerCase();
  return (
    <Stack>
      <TextInput placeholder={words.filterSettings} aria-label={words.filterSettings} leftSection={<IconSearch size={16} />} value={text}
        onChange={(e) => setText(e.currentTarget.value)} maw={420} />
      <Loaded query={settings}>
        {(all) => (
          <Stack gap="xs">
            {all.filter((s) => `${s.name} ${s.sentence}`.toLowerCase().includes(wanted)).map((s) => <SettingRow key={`${s.name} ${String(s.value)}`} setting={s} />)}
          </Stack>
        )}
      </Loaded>
    </Stack>
  );
}

function SettingRow({ setting }: { setting: Setting }) {
  const words = useWords();
  const [value, setValue] = useState(setting.value as string | number | boolean);
  const isFixed = setting.origin === 'file' || setting.origin === 'environment';
  const save = useMutation({
    mutationFn: (next: unknown) => take(api.PATCH('/sluice/v1/settings/{name}', { params: { path: { name: setting.name } }, body: { value: next } })),
    onSuccess: () => notifications.show({ message: `${words.saved}: ${setting.name}`, color: 'teal' }),
  });
  const isChanged = value !== setting.value;
  const common = { 'aria-label': setting.name, disabled: isFixed, error: save.error?.message, w: { base: '100%', xs: 260 } };
  return (
    <Paper withBorder px="md" py="sm">
      <Group justify="space-between" align="flex-start" gap="xs">
        <Stack gap={2} flex="1 1 320px">
          <Group gap={8}><Text fw={600} size="sm" className="mono">{setting.name}</Text><Origin from={setting.origin} /></Group>
          <Text size="sm" c="dimmed">{setting.sentence}</Text>
        </Stack>
        <Group gap={6} wrap="nowrap" align="flex-start">
          {isFixed && <Tooltip label={words.readOnly}><IconLock size={18} aria-label={words.readOnly} /></Tooltip>}
          {typeof setting.value === 'boolean' ? (
            <Switch {...common} w={undefined} checked={value === true} onChange={(e) => { setValue(e.currentTarget.checked); save.mutate(e.currentTarget.checked); }} />
          ) : typeof setting.value === 'number' ? (
            <NumberInput {...common} value={value as number} onChange={setValue} thousandSeparator=" " hideControls />
          ) : (
            <TextInput {...common} value={String(value)} onChange={(e) => setValue(e.currentTarget.value)} />
          )}
          {typeof setting.value !== 'boolean' && !isFixed && (
            <ActionIcon variant={isChanged ? 'filled' : 'default'} size={36} disabled={!isChanged} loading={save.isPending}
              onClick={() => save.mutate(value)} aria-label={`${words.save} ${setting.name}`}><IconDeviceFloppy size={16} /></ActionIcon>
          )}
        </Group>
      </Group>
    </Paper>
  );
}
