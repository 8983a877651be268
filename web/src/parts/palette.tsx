// Ctrl-K: every page, every object by name, and what can be done.
import { Modal, ScrollArea, Text, TextInput, UnstyledButton, useMantineColorScheme } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import {
  IconAdjustments, IconArrowsSplit2, IconBan, IconBolt, IconBuildingCommunity, IconBuildingWarehouse, IconChecks, IconCoin, IconDatabaseExport, IconEraser, IconFileText, IconGavel, IconKey, IconLanguage, IconLink, IconListDetails, IconLogout, IconMessages, IconMoon, IconPigMoney, IconPlus, IconRefresh,
  IconRocket, IconRoute, IconRoute2, IconSearch, IconStack2, IconSun, IconTag, IconUpload, IconUserCog, IconUsers,
} from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type ComponentType, type KeyboardEvent, useEffect, useMemo, useRef, useState } from 'react';
import { useLocation } from 'wouter';
import { api, take } from '../api/client';
import { lists } from '../api/lists';
import { objects } from '../api/objects';
import { routing } from '../api/routing';
import { useSpeech } from '../i18n';
import { places } from '../places';
import { useFocusBack } from './focus';

interface Goal { label: string; kind: string; more?: string; icon: ComponentType<{ size?: number }>; run: () => void; /** what can be done with it besides */ acts?: () => Goal[] }

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
  const chains = useQuery({ ...routing.chains, enabled: opened });
  const aliases = useQuery({ ...lists.aliases, enabled: opened });
  const budgets = useQuery({ ...lists.budgets, enabled: opened });
  const orgs = useQuery({ ...lists.orgs, enabled: opened });
  const users = useQuery({ ...lists.users, enabled: opened });
  const policies = useQuery({ ...objects.policies, enabled: opened });
  const proxies = useQuery({ ...objects.proxies, enabled: opened });
  const operators = useQuery({ ...lists.operators, enabled: opened, retry: false });
  useFocusBack(opened);
  useEffect(() => { setText(''); setAt(0); }, [opened]);
  useEffect(() => { list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: 'nearest' }); }, [at]);

  const all = useMemo<Goal[]>(() => {
    const to = (path: string) => () => go(path);
    const told = (done: Promise<unknown>, message: string) => void done.then(() => { notifications.show({ message, color: 'teal' }); void queries.invalidateQueries(); },
      (e: Error) => notifications.show({ title: words.notDone, message: e.message, color: 'red' }));
    const page = (label: string, path: string): Goal => ({ label, kind: words.page, icon: IconFileText, run: to(path) });
    const act = (label: string, path: string, icon: Goal['icon'] = IconPlus): Goal => ({ label, kind: words.action, icon, run: to(path) });
    const of = (name: string) => (label: string, path: string, icon: Goal['icon']): Goal => ({ label: `${name}: ${label}`, kind: words.action, icon, run: to(path) });
    const id = encodeURIComponent;
    return [
      ...places.map((p) => ({ label: words[p.word], kind: words.page, icon: p.icon, run: to(p.path) })),
      { label: words.start, kind: words.page, icon: IconRocket, run: to('/start') },
      page(`${words.routing}: ${words.chains}`, '/routing/chains'), page(`${words.routing}: ${words.policies}`, '/routing/policies'), page(`${words.routing}: ${words.breakers}`, '/routing/breakers'), page(`${words.models}: ${words.aliases}`, '/models?provider=::aliases'),
      page(`${words.costs}: ${words.budgets}`, '/cost/budgets'), page(`${words.costs}: ${words.prices}`, '/cost/prices'), page(`${words.costs}: ${words.reconciliation}`, '/cost/reconciliation'), page(`${words.costs}: ${words.ledger}`, '/cost/ledger'), page(words.users, '/orgs/users'),
      ...([['proxies', 'proxies'], ['addresses', 'addressFilter'], ['limits', 'limitsInForce'], ['cache', 'cache'], ['history', 'history'], ['sessions', 'sessions'], ['operators', 'operators'], ['audit', 'auditLog'], ['backup', 'backup']] as const).map(([path, word]) => page(`${words.settings}: ${words[word]}`, `/settings/${path}`)),
      act(words.addProvider, '/providers?new'), act(words.addModel, '/models?new'), act(words.addKey, '/keys?new'), act(words.addCombo, '/routing?new=combo'), act(words.addChain, '/routing/chains?new=chain'),
      act(words.addPolicy, '/routing/policies?new=policy'), act(words.addOrg, '/orgs?new'), act(words.addUser, '/orgs/users?new'), act(words.addProxy, '/settings/proxies?new'), act(words.banAddress, '/settings/addresses', IconBan), act(words.forgetAnswers, '/settings/cache', IconEraser), act(words.verifyLedger, '/cost/ledger', IconChecks), act(words.reprice, '/cost/ledger', IconCoin),
      act(words.addAlias, '/models?provider=::aliases&alias='), act(words.addBudget, '/cost/budgets?new'), act(words.addPrice, '/cost/prices?new'), act(words.bringPrices, '/cost/prices?bring', IconUpload), act(words.addOperator, '/settings/operators?new'),
      act(words.ownPassword, '/settings/operators?own', IconKey), act(words.whereTo, '/routing/trace', IconRoute), act(words.seeErrors, '/requests?status=error', IconBolt), act(words.bringExport, '/cost/reconciliation', IconUpload),
      { label: words.makeBackup, kind: words.action, icon: IconDatabaseExport, run: () => told(take(api.PUT('/api/db-backups')), words.backupMade) },
      { label: words.askAllAgain, kind: words.action, icon: IconRefresh, run: () => told(take(api.POST('/sluice/v1/breakers/reset', { body: {} })), words.askedAgain) },
      { label: words.reload, kind: words.action, icon: IconRefresh, run: () => told(take(api.POST('/sluice/v1/reload')), words.reloaded) },
      { label: `${words.scheme}: ${words.light}`, kind: words.action, icon: IconSun, run: () => setColorScheme('light') },
      { label: `${words.scheme}: ${words.dark}`, kind: words.action, icon: IconMoon, run: () => setColorScheme('dark') },
      { label: `${words.scheme}: ${words.system}`, kind: words.action, icon: IconAdjustments, run: () => setColorScheme('auto') },
      { label: language === 'en' ? '中文' : 'English', kind: words.language, icon: IconLanguage, run: () => speak(language === 'en' ? 'zh' : 'en') },
      { label: words.signOut, kind: words.action, icon: IconLogout, run: onSignOut },
      ...(models.data ?? []).map((m): Goal => ({ label: m.name, kind: words.model, more: m.targets.map((t) => t.provider).join(' '), icon: IconStack2, run: to(`/models/${id(m.name)}`), acts: () => {
        const its = of(m.name);
        return [its(words.tryIt, `/playground?model=${id(m.name)}`, IconMessages), its(words.whereTo, `/routing/trace?model=${id(m.name)}`, IconRoute), its(words.itsRequests, `/requests?model=${id(m.name)}`, IconListDetails), its(words.costs, `/cost?model=${id(m.name)}&by=key`, IconCoin)];
      } })),
      ...(combos.data ?? []).map((c): Goal => ({ label: c.name, kind: words.combo, more: c.members.map((m) => m.model).join(' '), icon: IconArrowsSplit2, run: to(`/routing?combo=${id(c.name)}`), acts: () => [of(c.name)(words.whereTo, `/routing/trace?model=${id(c.name)}`, IconRoute)] })),
      ...(chains.data ?? []).map((c) => ({ label: c.model, kind: words.kind_chain, more: c.chain.map((l) => l.provider).join(' '), icon: IconLink, run: to(`/routing/chains?chain=${id(c.model)}`) })),
      ...(aliases.data ?? []).map((a) => ({ label: a.alias, kind: words.kind_alias, more: a.to, icon: IconTag, run: to(`/models?provider=::aliases&alias=${id(a.alias)}`) })),
      ...(providers.data ?? []).map((p): Goal => ({ label: p.name, kind: words.provider, more: p.type, icon: IconBuildingWarehouse, run: to(`/providers/${id(p.name)}`), acts: () => [of(p.name)(words.itsRequests, `/requests?provider=${id(p.name)}`, IconListDetails), of(p.name)(words.seeErrors, `/requests?provider=${id(p.name)}&status=error`, IconBolt)] })),
      ...(keys.data ?? []).map((k): Goal => ({ label: k.label || k.id, kind: words.key, more: k.id, icon: IconKey, run: to(`/keys/${id(k.id)}`), acts: () => [of(k.label || k.id)(words.itsRequests, `/requests?key=${id(k.id)}`, IconListDetails), of(k.label || k.id)(words.costs, `/cost?key=${id(k.id)}`, IconCoin)] })),
      ...(budgets.data ?? []).map((b) => ({ label: b.name, kind: words.budget, more: b.subject, icon: IconPigMoney, run: to(`/cost/budgets?budget=${id(b.name)}`) })),
      ...(policies.data ?? []).map((p) => ({ label: p.name, kind: words.policy, more: [p.model, p.target, p.action].join(' '), icon: IconGavel, run: to(`/routing/policies?policy=${id(p.name)}`) })),
      ...(proxies.data ?? []).map((p) => ({ label: p.name, kind: words.proxy, more: [p.url, p.region].join(' '), icon: IconRoute2, run: to(`/settings/proxies?proxy=${id(p.name)}`) })),
      ...(orgs.data ?? []).map((o): Goal => ({ label: o.name || o.id, kind: words.org, more: o.id, icon: IconBuildingCommunity, run: to(`/orgs?id=${id(o.id)}`), acts: () => [of(o.name || o.id)(words.costs, `/cost?org=${id(o.id)}&by=key`, IconCoin)] })),
      ...(users.data ?? []).map((u): Goal => ({ label: u.name || u.id, kind: words.user, more: u.id, icon: IconUsers, run: to(`/orgs/users?id=${id(u.id)}`), acts: () => [of(u.name || u.id)(words.costs, `/cost?user=${id(u.id)}&by=key`, IconCoin)] })),
      ...(operators.data ?? []).map((o) => ({ label: o.name, kind: words.operator, more: o.role, icon: IconUserCog, run: to(`/settings/operators?operator=${id(o.id)}`) })),
      ...(settings.data ?? []).map((s) => ({ label: s.name, kind: words.setting, more: s.sentence, icon: IconAdjustments, run: to(`/settings?q=${id(s.name)}`) })),
    ];
  }, [words, language, speak, go, queries, setColorScheme, onSignOut, models.data, combos.data, chains.data, aliases.data, providers.data, keys.data, budgets.data, orgs.data, users.data, policies.data, proxies.data, operators.data, settings.data]);

  const goals = useMemo<Goal[]>(() => {
    const wanted = text.trim().toLowerCase();
    const asked: Goal[] = /^req_/.test(wanted) ? [{ label: text.trim(), kind: words.request, icon: IconFileText, run: () => go(`/requests/${encodeURIComponent(text.trim())}`) }]
      : wanted ? [{ label: `“${text.trim()}”`, kind: words.inTheLog, icon: IconSearch, run: () => go(`/requests?q=${encodeURIComponent(text.trim())}`) }, { label: `“${text.trim()}”`, kind: words.inPrices, icon: IconSearch, run: () => go(`/cost/prices?q=${encodeURIComponent(text.trim())}`) }] : [];
    if (!wanted) return all.slice(0, most);
    const rank = (g: Goal) => { const l = g.label.toLowerCase(); return l === wanted ? 0 : l.startsWith(wanted) ? 1 : l.includes(wanted) ? 2 : g.more?.toLowerCase().includes(wanted) ? 3 : 9; };
    const ranked = all.map((g) => ({ g, r: rank(g) })).filter((x) => x.r < 9).sort((a, b) => a.r - b.r).map((x) => x.g).slice(0, most);
    const acts = ranked.slice(0, 3).flatMap((g) => g.acts?.() ?? []);
    return /^req_/.test(wanted) ? [...asked, ...ranked] : [...ranked.slice(0, 8), ...acts, ...ranked.slice(8), ...asked];
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
    <Modal.Root opened={opened} onClose={onClose} padding={0} yOffset="12vh" size={560} returnFocus={false} transitionProps={{ duration: 120, exitDuration: 0 }}>
      <Modal.Overlay backgroundOpacity={0.35} />
      <Modal.Content aria-label={words.commands}>
        <TextInput value={text} onChange={(e) => { setText(e.currentTarget.value); setAt(0); }} onKeyDown={onKeyDown} placeholder={words.commands}
          aria-label={words.commands} leftSection={<IconSearch size={16} />} size="md" variant="unstyled" px="xs" data-autofocus
          role="combobox" aria-expanded aria-controls="goals" aria-activedescendant={goals.length ? `goal-${at}` : undefined} />
        <ScrollArea.Autosize mah="52vh" type="auto" scrollbars="y" style={{ borderTop: '1px solid var(--mantine-color-default-border)' }}>
          <div id="goals" role="listbox" aria-label={words.commands} ref={list} style={{ padding: '4px 0', width: 0, minWidth: '100%' }}>
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
