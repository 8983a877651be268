// The kinds of providers to choose from.
import { Group, Stack, Text, TextInput, UnstyledButton } from '@mantine/core';
import { IconSearch } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { ProviderKind } from '../api/client';
import { lists } from '../api/lists';
import { useWords } from '../i18n';
import { Mark } from './mark';
import { Loaded } from './pieces';

export function Catalogue({ title, picked, withEcho, onPick }: { title: string; picked: string; withEcho?: boolean; onPick: (kind: ProviderKind) => void }) {
  const words = useWords();
  const [text, setText] = useState('');
  const wanted = text.trim().toLowerCase();
  return (
    <Stack gap={6}>
      <Group justify="space-between" gap="xs">
        <Text size="sm" c="dimmed">{title}</Text>
        <TextInput size="xs" w={200} placeholder={words.search} aria-label={words.searchKinds} leftSection={<IconSearch size={14} />} value={text} onChange={(e) => setText(e.currentTarget.value)} data-autofocus />
      </Group>
      <Loaded query={useQuery(lists.kinds)}>
        {(all) => (
          <div className="kinds">
            {all.filter((k) => (withEcho || k.id !== 'echo') && `${k.id} ${k.title}`.toLowerCase().includes(wanted)).sort((a, b) => a.title.localeCompare(b.title)).map((k) => (
              <UnstyledButton key={k.id} className="kind" aria-pressed={k.id === picked} onClick={() => onPick(k)}>
                <Mark name={k.title} kind={k.id} size={28} /><Text size="sm" fw={500} className="ell" title={k.title}>{k.title}</Text>
              </UnstyledButton>
            ))}
          </div>
        )}
      </Loaded>
    </Stack>
  );
}
