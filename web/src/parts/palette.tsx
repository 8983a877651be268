// Ctrl-K: every page, every object by name, and what can be done.
import { Modal, ScrollArea, Text, TextInput, UnstyledButton, useMantineColorScheme } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import {
  IconAdjustments, IconArrowsSplit2, IconBolt, IconBuildingWarehouse, IconDatabaseExport, IconFileText, IconKey, IconLanguage, IconLogout, IconMoon, IconPlus, IconRefresh, IconRocket, IconRoute, IconSearch, IconStack2, IconSun,
} from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type ComponentType, type KeyboardEvent, useEffect, useMemo, useRef, useState } from 'react';
import { useLocation } from 'wouter';
import { api, take } from '../api/client';
import { lists } from '../api/lists';
import { routing } from '../api/routing';
import { useSpeech } from '../i18n';
import { places } from '../places';

interface Goal { label: string; kind: string; more?: string; icon: ComponentType<{ size?: number }>; run: () => void }

const most = 60;

export default function Palette({ opened, onClose, onSignOut }: { opened: boolean; onClose: () => void; onSignOut: () => void }) {
  const { words, language, speak } = useSpeech();
  const [, go] = useLocation();
  const queries = useQueryClient();
  const { setColorScheme } = useMantineColorScheme();
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const list = useRef<HTMLDivElement>(null);
  const models = useQuery({ ...lists.models, enabled: opened });
  const providers = useQuery({ ...lists.providers, enabled: opened });
  const keys = useQuery({ ...lists.keys, enabled: opened });
  const settings = useQuery({ ...lists.settings, enabled: opened });
  const combos = useQuery({ ...routing.combos, enabled: opened });
  useEffect(() => { setText(''); setAt(0); }, [opened]);
  useEffect(() => { list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: 'nearest' }); }, [at]);

  const all = useMemo<Goal[]>(() => {
    const to = (path: string) => () => go(path);
    const reload = () => void take(api.POST('/sluice/v1/reload')).then(() => { notifications.show({ message: words.reloaded, color: 'teal' }); void queries.invalidateQueries(); },
      (e: Error) => notifications.show({ title: words.failed, message: e.message, color: 'red' }));
    return [
      ...places.map((p) => ({ label: words[p.word], kind: words.page, icon: p.icon, run: to(p.path) })),
      { label: words.start, kind: words.page, icon: IconRocket, run: to('/start') },
      { label: words.addProvider, kind: words.action, icon: IconPlus, run: to('/providers?new') },
      { label: words.addModel, kind: words.action, icon: IconPlus, run: to('/models?new') },
      { label: words.addKey, kind: words.action, icon: IconPlus, run: to('/keys?new') },
      { label: words.addCombo, kind: words.action, icon: IconPlus, run: to('/routing?new=combo') },
      { label: words.addBudget, kind: words.action, icon: IconPlus, run: to('/cost/budgets?new') },
      { label: words.whereTo, kind: words.action, icon: IconRoute, run: to('/routing/trace') },
      { label: words.makeBackup, kind: words.action, icon: IconDatabaseExport, run: to('/settings/backup') },
      { label: words.seeErrors, kind: words.action, icon: IconBolt, run: to('/requests?status=error') },
      { label: words.reload, kind: words.action, icon: IconRefresh, run: reload },
      { label: `${words.scheme}: ${words.light}`, kind: words.action, icon: IconSun, run: () => setColorScheme('light') },
      { label: `${words.scheme}: ${words.dark}`, kind: words.action, icon: IconMoon, run: () => setColorScheme('dark') },
      { label: `${words.scheme}: ${words.system}`, kind: words.action, icon: IconAdjustments, run: () => setColorScheme('auto') },
      { label: language === 'en' ? '中文' : 'English', kind: words.language, icon: IconLanguage, run: () => speak(language === 'en' ? 'zh' : 'en') },
      { label: words.signOut, kind: words.action, icon: IconLogout, run: onSignOut },
      ...(models.data ?? []).map((m) => ({ label: m.name, kind: words.model, more: m.targets.map((t) => t.provider).join(' '), icon: IconStack2, run: to(`/models/${encodeURIComponent(m.name)}`) })),
      ...(combos.data ?? []).map((c) => ({ label: c.name, kind: words.combo, more: c.members.map((m) => m.model).join(' '), icon: IconArrowsSplit2, run: to(`/routing?combo=${encodeURIComponent(c.name)}`) })),
      ...(providers.data ?? []).map((p) => ({ label: p.name, kind: words.provider, more: p.type, icon: IconBuildingWarehouse, run: to(`/providers/${encodeURIComponent(p.name)}`) })),
      ...(keys.data ?? []).map((k) => ({ label: k.label || k.id, kind: words.key, more: k.id, icon: IconKey, run: to(`/keys/${encodeURIComponent(k.id)}`) })),
      ...(settings.data ?? []).map((s) => ({ label: s.name, kind: words.setting, more: s.sentence, icon: IconAdjustments, run: to(`/settings?q=${encodeURIComponent(s.name)}`) })),
    ];
  }, [words, language, speak, go, queries, setColorScheme, onSignOut, models.data, combos.data, providers.data, keys.data, settings.data]);

  const goals = useMemo<Goal[]>(() => {
    const wanted = text.trim().toLowerCase();
    const asked: Goal[] = /^req_/.test(wanted) ? [{ label: text.trim(), kind: words.request, icon: IconFileText, run: () => go(`/requests/${encodeURIComponent(text.trim())}`) }]
      : wanted ? [{ label: `“${text.trim()}”`, kind: words.inTheLog, icon: IconSearch, run: () => go(`/requests?q=${encodeURIComponent(text.trim())}`) }] : [];
    if (!wanted) return all.slice(0, most);
    const rank = (g: Goal) => { const l = g.label.toLowerCase(); return l === wanted ? 0 : l.startsWith(wanted) ? 1 : l.includes(wanted) ? 2 : g.more?.toLowerCase().includes(wanted) ? 3 : 9; };
    const ranked = all.map((g) => ({ g, r: rank(g) })).filter((x) => x.r < 9).sort((a, b) => a.r - b.r).map((x) => x.g).slice(0, most);
    return /^req_/.test(wanted) ? [...asked, ...ranked] : [...ranked, ...asked];
  }, [all, text, words, go]);

  function follow(goal: Goal | undefined) {
    if (!goal) return;
    onClose();
    goal.run();
  }
  function onKeyDown(event: KeyboardEvent) {
    if (event.key === 'ArrowDown') setAt((n) => Math.min(n + 1, goals.length - 1));
    else if (event.key === 'ArrowUp') setAt((n) => Math.max(n - 1, 0));
    else if (event.key === 'Enter' && !event.nativeEvent.isComposing) follow(goals[at]);
    else return;
    event.preventDefault();
  }
  return (
    <Modal.Root opened={opened} onClose={onClose} padding={0} yOffset="12vh" size={560}>
      <Modal.Overlay backgroundOpacity={0.35} />
      <Modal.Content aria-label={words.commands}>
        <TextInput value={text} onChange={(e) => { setText(e.currentTarget.value); setAt(0); }} onKeyDown={onKeyDown} placeholder={words.commands}
          aria-label={words.commands} leftSection={<IconSearch size={16} />} size="md" variant="unstyled" px="xs" data-autofocus
          role="combobox" aria-expanded aria-controls="goals" aria-activedescendant={goals.length ? `goal-${at}` : undefined} />
        <ScrollArea.Autosize mah="52vh" type="auto" style={{ borderTop: '1px solid var(--mantine-color-default-border)' }}>
          <div id="goals" role="listbox" aria-label={words.commands} ref={list} style={{ padding: '4px 0' }}>
            {goals.map((g, i) => (
              <UnstyledButton key={`${g.kind} ${g.label} ${i}`} id={`goal-${i}`} role="option" aria-selected={i === at} className="goal" onClick={() => follow(g)} onMouseMove={() => setAt(i)} tabIndex={-1}>
                <g.icon size={16} /><Text span size="sm" className="ell">{g.label}</Text><Text span size="xs" className="goal-kind">{g.kind}</Text>
              </UnstyledButton>
            ))}
          </div>
          {goals.length === 0 && <Text p="md" c="dimmed" size="sm">{words.noMatch}</Text>}
        </ScrollArea.Autosize>
      </Modal.Content>
    </Modal.Root>
  );
}
