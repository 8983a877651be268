// Policies: which requests are refused, and which go elsewhere than their name says, before they are led anywhere.
import { Anchor, Autocomplete, Button, Group, NumberInput, Paper, SegmentedControl, Select, SimpleGrid, Stack, Switch, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconArrowRight, IconGavel, IconPlus } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { Link } from 'wouter';
import { api, take } from '../api/client';
import { lists } from '../api/lists';
import { objects, type Policy, type Task, tasks } from '../api/objects';
import { routing } from '../api/routing';
import { useWords } from '../i18n';
import { useAsSeen } from '../parts/as-seen';
import { Confirm } from '../parts/dialogs';
import { Edited } from '../parts/edited';
import { Empty, Failure, Loaded, Origin } from '../parts/pieces';
import { Guard } from '../parts/guard';
import { Side } from '../parts/side';

type Standing = (model: string) => 'fine' | 'warn' | 'bad' | undefined;
type Said = Pick<Policy, 'model' | 'key' | 'task' | 'action' | 'target'>;

const pathOf = (name: string) => `/sluice/v1/policies/${encodeURIComponent(name)}`;

/** As it is written: a policy has no changes of its members. */
const written = (p: Said & Pick<Policy, 'id' | 'priority' | 'enabled'>) => ({
  ...(p.id && { id: p.id }), ...(p.model && { model: p.model }), ...(p.key && { key: p.key }), ...(p.task !== 'any' && { task: p.task }),
  action: p.action, ...(p.action === 'route' && { target: p.target }), priority: p.priority, enabled: p.enabled,
});
const put = (name: string, body: ReturnType<typeof written>) => take(api.PUT('/sluice/v1/policies/{name}', { params: { path: { name } }, body }));
const drop = (name: string) => take(api.DELETE('/sluice/v1/policies/{name}', { params: { path: { name } } }));

/** The setting that has to be on for a policy that names a task. */
const setting = (p: Pick<Policy, 'task' | 'model'>) => (p.task === 'any' ? '' : p.task === 'background' && p.model ? 'background_degradation' : 'task_routing');

function useIsIdle(): (p: Pick<Policy, 'task' | 'model'>) => string {
  const settings = useQuery(lists.settings);
  return (p) => { const name = setting(p); return name && settings.data?.find((s) => s.name === name)?.value === false ? name : ''; };
}

/** Whom it is about, and what becomes of them. */
function Rule({ p, standing }: { p: Said; standing: Standing }) {
  const words = useWords();
  const keys = useQuery(lists.keys);
  const key = p.key && (keys.data?.find((k) => k.id === p.key)?.label || p.key);
  return (
    <span className="flow" style={{ alignItems: 'center' }}>
      {!p.model && !key && p.task === 'any' && <span className="hop">{words.everyRequest}</span>}
      {p.model && <span className="hop" title={words.whatIsAsked}><span className="dim">{words.model}</span><span className="ell">{p.model}</span></span>}
      {key && <span className="hop"><span className="dim">{words.key}</span><span className="ell">{key}</span></span>}
      {p.task !== 'any' && <span className="hop"><span className="dim">{words.task}</span>{words[`task_${p.task as Task}`]}</span>}
      <IconArrowRight size={15} aria-hidden style={{ flex: 'none' }} />
      {p.action === 'deny' ? <span className="status" data-is="bad">{words.action_deny}</span>
        : <span className="hop"><span className="dot" data-is={standing(p.target)} aria-hidden /><span className="ell">{p.target || '…'}</span></span>}
    </span>
  );
}

export function Policies({ standing, onAdd, onOpen }: { standing: Standing; onAdd: () => void; onOpen: (p: Policy) => void }) {
  const words = useWords();
  const isIdle = useIsIdle();
  const { run, dialog } = useAsSeen<Policy>({ nameOf: (p) => p.name, pathOf: (p) => pathOf(p.name), change: (p, enabled) => put(p.name, written({ ...p, enabled })) });
  return (
    <Stack gap="sm">
      <Text size="sm" c="dimmed">{words.policiesHint}</Text>
      <Loaded query={useQuery(objects.policies)}>
        {(all) => all.length === 0 ? <Paper withBorder><Empty icon={<IconGavel size={36} />} title={words.noPolicies} hint={words.noPoliciesHint} action={<Button size="xs" leftSection={<IconPlus size={14} />} onClick={onAdd}>{words.addPolicy}</Button>} /></Paper> : (
          <Paper withBorder component="ul" className="rows" aria-label={words.policies}>
            {all.toSorted((a, b) => b.priority - a.priority).map((p) => (
              <li key={p.name} className="row-line">
                <button type="button" className="row-button" onClick={() => onOpen(p)} aria-label={p.name}>
                  <span className="row-name"><b>{p.name}</b><Origin from={p.origin} />{p.priority !== 0 && <Text size="xs" c="dimmed">{words.priority} {p.priority}</Text>}
                    {p.enabled && isIdle(p) && <Text size="xs" c="var(--warn-text)">{words.notLookedAt} <span className="mono">{isIdle(p)}</span></Text>}</span>
                  <span style={{ flex: 1, minWidth: 0, opacity: p.enabled ? 1 : 0.65 }}><Rule p={p} standing={standing} /></span>
                </button>
                <Guard><Switch size="xs" checked={p.enabled} onChange={(e) => run([p], e.currentTarget.checked)} aria-label={`${words.enabled} ${p.name}`} /></Guard>
              </li>
            ))}
          </Paper>
        )}
      </Loaded>
      {dialog}
    </Stack>
  );
}

export function PolicyDrawer({ name, isNew, standing, onClose }: { name: string | null; isNew: boolean; standing: Standing; onClose: () => void }) {
  const words = useWords();
  const policies = useQuery(objects.policies);
  const policy = policies.data?.find((p) => p.name === name) ?? null;
  return (
    <Side size="min(620px, 100%)" opened={isNew || name !== null} onClose={onClose} title={isNew ? words.addPolicy : name}>
      {isNew ? <PolicyForm key="new" old={null} standing={standing} onClose={onClose} />
        : <Loaded query={policies}>{() => policy ? <Edited key={policy.name} path={pathOf(policy.name)} seen={policy}><PolicyForm old={policy} standing={standing} onClose={onClose} /></Edited> : <Text size="sm" c="dimmed">{words.noMatch}</Text>}</Loaded>}
    </Side>
  );
}

function PolicyForm({ old, standing, onClose }: { old: Policy | null; standing: Standing; onClose: () => void }) {
  const words = useWords();
  const policies = useQuery(objects.policies);
  const models = useQuery(lists.models);
  const combos = useQuery(routing.combos);
  const keys = useQuery(lists.keys);
  const isIdle = useIsIdle();
  const [name, setName] = useState(old?.name ?? '');
  const [action, setAction] = useState<string>(old?.action ?? 'deny');
  const [target, setTarget] = useState(old?.target ?? '');
  const [model, setModel] = useState(old?.model ?? '');
  const [key, setKey] = useState(old?.key ?? '');
  const [task, setTask] = useState<string>(old?.task ?? 'any');
  const [priority, setPriority] = useState<number | string>(old?.priority ?? 0);
  const [enabled, setEnabled] = useState(old?.enabled ?? true);
  const [isDoomed, setDoomed] = useState(false);
  const isNamed = !old || name.trim() !== old.name; // anew
  const isTaken = isNamed && policies.data?.some((p) => p.name === name.trim()) === true; // to be made is no reason to replace one
  const said = { model: model.trim(), key, task: task as Task, action: action as 'deny', target: target.trim() };
  const save = useMutation({
    mutationFn: async () => { // under another name it is another one: made first, so that no request slips through between the two
      await put(name.trim(), written({ ...said, id: isNamed ? '' : old.id, priority: Number(priority) || 0, enabled }));
      if (old && isNamed) await drop(old.name).catch(async (e: unknown) => { await drop(name.trim()); throw e; }); // one of the two
    },
    onSuccess: () => { notifications.show({ message: `${words.saved}: ${name.trim()}`, color: 'teal' }); onClose(); },
  });
  const remove = useMutation({ mutationFn: () => drop(old?.name ?? ''), onSuccess: () => { setDoomed(false); onClose(); } });
  const known = useMemo(() => [...new Set([...(combos.data ?? []).map((c) => c.name), ...(models.data ?? []).map((m) => m.name)])], [combos.data, models.data]);
  const idle = isIdle(said);
  return (
    <Guard isForm><form onSubmit={(e) => { e.preventDefault(); save.mutate(); }}>
      <Stack gap="md">
        <TextInput label={words.name} value={name} onChange={(e) => setName(e.currentTarget.value)} required error={isTaken ? words.nameTaken : undefined} description={old && isNamed ? words.renamePolicyHint : undefined} data-autofocus={!old || undefined} />
        <Stack gap={6}>
          <Text size="sm" fw={500}>{words.whichRequests} <Text span size="xs" c="dimmed">{words.whichRequestsHint}</Text></Text>
          <Autocomplete label={words.whatIsAsked} value={model} onChange={setModel} data={known} limit={30} placeholder={words.all} classNames={{ input: 'mono' }} description={words.patternHint} />
          <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm">
            <Select label={words.key} value={key || null} onChange={(k) => setKey(k ?? '')} data={(keys.data ?? []).map((k) => ({ value: k.id, label: k.label || k.id }))} placeholder={words.all} searchable clearable />
            <Select label={words.task} value={task} onChange={(t) => t && setTask(t)} data={tasks.map((t) => ({ value: t, label: words[`task_${t}`] }))} allowDeselect={false} />
          </SimpleGrid>
          {idle && <Text size="xs" c="var(--warn-text)">{words.notLookedAt} <Anchor component={Link} href={`/settings?q=${idle}`} size="xs" className="mono">{idle}</Anchor></Text>}
        </Stack>
        <Stack gap={6}>
          <Text size="sm" fw={500}>{words.whatBecomes}</Text>
          <SegmentedControl aria-label={words.whatBecomes} value={action} onChange={setAction} data={[{ value: 'deny', label: words.theyAreRefused }, { value: 'route', label: words.theyGoElsewhere }]} />
          {action === 'route' && <Autocomplete label={words.target} value={target} onChange={setTarget} required data={known} limit={30} classNames={{ input: 'mono' }} description={words.addMemberHint} />}
        </Stack>
        <NumberInput label={words.priority} description={words.policyOrder} value={priority} onChange={setPriority} min={-1_000_000} max={1_000_000} allowDecimal={false} w={{ base: '100%', xs: 240 }} />
        <Switch label={words.enabled} checked={enabled} onChange={(e) => setEnabled(e.currentTarget.checked)} />
        <Paper withBorder p="sm" component="section" aria-label={words.policy}><Rule p={said} standing={standing} /></Paper>
        {old && old.origin !== 'api' && <Text size="xs" c="dimmed">{words.stands}: <Origin from={old.origin} /></Text>}
        {save.error && <Failure error={save.error} overwrite={() => save.mutate()} />}
        <Group justify="space-between">
          {old ? <Button variant="subtle" color="red" onClick={() => setDoomed(true)}>{words.delete}</Button> : <span />}
          <Group gap="xs"><Button variant="default" onClick={onClose}>{words.cancel}</Button><Button type="submit" loading={save.isPending} disabled={!name.trim() || isTaken || (action === 'route' && !target.trim())}>{old ? words.save : words.create}</Button></Group>
        </Group>
      </Stack>
      <Confirm title={words.deletePolicy} opened={isDoomed} busy={remove.isPending} error={remove.error} onClose={() => { setDoomed(false); remove.reset(); }} onDo={() => remove.mutate()}>
        <Text><b>{old?.name}</b>: {words.deletePolicyHint}</Text>
      </Confirm>
    </form></Guard>
  );
}
