// What goes along when a model or a provider goes: who refers to it, and in which way each loses it.
import { List, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { Provider, ServedModel } from '../api/client';
import { lists } from '../api/lists';
import { routing } from '../api/routing';
import { useWords } from '../i18n';

const shown = 50;

export function Those({ title, names }: { title: string; names: string[] }) {
  if (names.length === 0) return null;
  return (
    <section aria-label={title}>
      <Text size="sm" fw={550} mb={4}>{title}</Text>
      <List size="sm" mah={180} style={{ overflow: 'auto' }}>{names.slice(0, shown).map((n) => <List.Item key={n}><span className="mono">{n}</span></List.Item>)}</List>
      {names.length > shown && <Text size="sm" c="dimmed">+ {names.length - shown}</Text>}
    </section>
  );
}

/** Of combos, chains and aliases those that lead to one of these models. */
function useUsers(models: ReadonlySet<string>) {
  const combos = useQuery(routing.combos);
  const chains = useQuery(routing.chains);
  const aliases = useQuery(lists.aliases);
  return {
    combos: (combos.data ?? []).filter((c) => c.members.some((m) => models.has(m.model))).map((c) => c.name),
    chains: (chains.data ?? []).filter((c) => models.has(c.model)).map((c) => c.model),
    aliases: (aliases.data ?? []).filter((a) => models.has(a.to)).map((a) => a.alias),
  };
}

export function AfterModels({ models }: { models: ServedModel[] }) {
  const words = useWords();
  const users = useUsers(new Set(models.map((m) => m.name)));
  return <><Those title={words.leavesThese} names={users.combos} /><Those title={words.chainsGo} names={users.chains} /><Those title={words.aliasesGo} names={users.aliases} /></>;
}

export function AfterProvider({ p, served }: { p: Provider; served: ServedModel[] }) {
  const words = useWords();
  const chains = useQuery(routing.chains);
  const combos = useQuery(routing.combos);
  const keys = useQuery(lists.keys);
  const gone = served.filter((m) => m.targets.every((t) => t.provider === p.name)).map((m) => m.name);
  const users = useUsers(new Set(gone));
  const member = (c: { members: { model: string; provider?: string }[] }) => c.members.some((m) => m.provider === p.name || m.model.startsWith(`${p.name}/`));
  return (
    <>
      <Text><b>{p.name}</b>{served.length === 0 && <>: {words.deletesNone}</>}</Text>
      <Those title={words.deletesModels} names={gone} />
      <Those title={words.losesTarget} names={served.filter((m) => !gone.includes(m.name)).map((m) => m.name)} />
      <Those title={words.leavesThese} names={[...new Set([...users.combos, ...(combos.data ?? []).filter(member).map((c) => c.name)])]} />
      <Those title={words.leavesChains} names={[...new Set([...users.chains, ...(chains.data ?? []).filter((c) => c.chain.some((l) => l.provider === p.name)).map((c) => c.model)])]} />
      <Those title={words.aliasesGo} names={users.aliases} />
      <Those title={words.leavesKeys} names={(keys.data ?? []).filter((k) => k.providers.includes(p.name)).map((k) => k.label || k.id)} />
    </>
  );
}
