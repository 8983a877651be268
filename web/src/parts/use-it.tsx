// The clients to choose from, and what to copy for the chosen one.
import { Chip, Group, Stack, Text } from '@mantine/core';
import { useState } from 'react';
import { useWords } from '../i18n';
import { Snippet } from './dialogs';
import { snippets } from './snippets';

export function UseIt({ secret, model }: { secret: string; model: string }) {
  const words = useWords();
  const [name, setName] = useState('curl');
  const chosen = snippets.find((s) => s.name === name) ?? snippets[0];
  return (
    <Stack gap="xs">
      <Chip.Group value={name} onChange={(v) => setName(String(v))}>
        <Group gap={6} role="group" aria-label={words.use}>{snippets.map((s) => <Chip key={s.name} value={s.name} size="xs" variant="outline" icon={null}>{s.name}</Chip>)}</Group>
      </Chip.Group>
      {chosen?.where && <Text size="xs" c="dimmed">{chosen.where}</Text>}
      {chosen && <Snippet text={chosen.text(secret, model)} />}
    </Stack>
  );
}
