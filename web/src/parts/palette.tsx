// Ctrl-K: every page and every object by name.
import { Modal, ScrollArea, Text, TextInput, UnstyledButton } from '@mantine/core';
import { IconSearch } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { type KeyboardEvent, useEffect, useMemo, useState } from 'react';
import { useLocation } from 'wouter';
import { places } from '../places';
import { lists } from '../api/lists';
import { useWords } from '../i18n';

interface Goal { label: string; kind: string; to: string }

export function Palette({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const words = useWords();
  const [, go] = useLocation();
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const models = useQuery({ ...lists.models, enabled: opened });
  const providers = useQuery({ ...lists.providers, enabled: opened });
  const keys = useQuery({ ...lists.keys, enabled: opened });
  useEffect(() => { setText(''); setAt(0); }, [opened]);

  const goals = useMemo<Goal[]>(() => {
    const all: Goal[] = [
      ...places.map((p) => ({ label: words[p.word], kind: '', to: p.path })),
      ...(models.data ?? []).map((m) => ({ label: m.name, kind: words.model, to: `/models/${encodeURIComponent(m.name)}` })),
      ...(providers.data ?? []).map((p) => ({ label: p.name, kind: words.provider, to: `/providers/${encodeURIComponent(p.name)}` })),
      ...(keys.data ?? []).map((k) => ({ label: k.label || k.id, kind: words.key, to: `/keys/${encodeURIComponent(k.id)}` })),
    ];
    const wanted = text.trim().toLowerCase();
    return all.filter((g) => g.label.toLowerCase().includes(wanted)).slice(0, 50);
  }, [text, words, models.data, providers.data, keys.data]);

  function follow(goal: Goal | undefined) {
    if (!goal) return;
    onClose();
    go(goal.to);
  }
  function onKeyDown(event: KeyboardEvent) {
    if (event.key === 'ArrowDown') setAt((n) => Math.min(n + 1, goals.length - 1));
    else if (event.key === 'ArrowUp') setAt((n) => Math.max(n - 1, 0));
    else if (event.key === 'Enter') follow(goals[at]);
    else return;
    event.preventDefault();
  }
  return (
    <Modal.Root opened={opened} onClose={onClose} padding={0} yOffset="12vh">
      <Modal.Overlay />
      <Modal.Content aria-label={words.commands}>
      <TextInput value={text} onChange={(e) => { setText(e.currentTarget.value); setAt(0); }} onKeyDown={onKeyDown} placeholder={words.commands}
        aria-label={words.commands} leftSection={<IconSearch size={16} />} size="md" variant="unstyled" px="xs" data-autofocus
        role="combobox" aria-expanded aria-controls="goals" aria-activedescendant={goals.length ? `goal-${at}` : undefined} />
      <ScrollArea.Autosize mah="50vh" type="auto">
        <div id="goals" role="listbox" aria-label={words.commands}>
          {goals.map((g, i) => (
            <UnstyledButton key={g.kind + g.to} id={`goal-${i}`} role="option" aria-selected={i === at} className="goal" onClick={() => follow(g)}
              onMouseMove={() => setAt(i)} tabIndex={-1}>
              <Text span truncate>{g.label}</Text><Text span size="xs" className="goal-kind">{g.kind}</Text>
            </UnstyledButton>
          ))}
        </div>
        {goals.length === 0 && <Text p="md" c="dimmed">{words.noMatch}</Text>}
      </ScrollArea.Autosize>
      </Modal.Content>
    </Modal.Root>
  );
}
