// Budgets: whom each binds, how much of it is spent and where it is heading; made, changed, deleted.
import { Button, Group, NumberInput, Paper, Select, Stack, Switch, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconPigMoney, IconPlus } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useSearchParams } from 'wouter';
import { api, take } from '../api/client';
import { useNames, zone } from '../api/costs';
import { type Budget, lists } from '../api/lists';
import { useSpeech, useWords } from '../i18n';
import { Meter } from '../parts/budget';
import { Dialog } from '../parts/dialog';
import { Confirm } from '../parts/dialogs';
import { money, relative } from '../parts/format';
import { Edited } from '../parts/edited';
import { Gone } from '../parts/gone';
import { Guard } from '../parts/guard';
import { Empty, Failure, Loaded, Origin } from '../parts/pieces';

const scopes = ['all', 'org', 'user', 'key', 'tag'] as const;
const periods = ['day', 'week', 'month', 'ever'] as const;

const pathOf = (name: string) => `/sluice/v1/budgets/${encodeURIComponent(name)}`;

export function Budgets() {
  const words = useWords();
  const [search, setSearch] = useSearchParams();
  const edited = search.has('new') ? '' : search.get('budget'); // a name, or '' for a new one
  const setEdited = (name: string | null) => setSearch(name === null ? {} : name === '' ? { new: '' } : { budget: name });
  const budgets = useQuery(lists.budgets);
  const changed = budgets.data?.find((b) => b.name === edited);
  const [doomed, setDoomed] = useState<Budget | null>(null);
  const remove = useMutation({ mutationFn: (name: string) => take(api.DELETE('/sluice/v1/budgets/{name}', { params: { path: { name } } })), onSuccess: () => setDoomed(null) });
  const add = <Guard><Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => setEdited('')}>{words.addBudget}</Button></Guard>;
  return (
    <Stack gap="sm">
      <Group justify="space-between"><Text size="sm" c="dimmed">{words.budgetsHint}</Text>{add}</Group>
      <Gone name={edited} among={budgets.data} is={(b, n) => b.name === n} />
      <Loaded query={budgets}>
        {(all) => all.length === 0 ? <Paper withBorder><Empty icon={<IconPigMoney size={36} />} title={words.noBudgets} hint={words.noBudgetsHint} action={add} /></Paper>
          : <Paper withBorder component="ul" className="rows" aria-label={words.budgets}>{all.map((b) => <li key={b.name}><Row b={b} onOpen={() => setEdited(b.name)} /></li>)}</Paper>}
      </Loaded>
      {edited === '' && <BudgetForm old={null} onClose={() => setEdited(null)} onDelete={() => undefined} />}
      {changed && <Edited key={changed.name} path={pathOf(changed.name)} seen={changed}><BudgetForm old={changed} onClose={() => setEdited(null)} onDelete={() => { setDoomed(changed); setEdited(null); }} /></Edited>}
      <Confirm path={doomed ? pathOf(doomed.name) : undefined} title={words.deleteBudget} opened={doomed !== null} busy={remove.isPending} error={remove.error} onClose={() => setDoomed(null)} onDo={() => doomed && remove.mutate(doomed.name)}>
        <Text><b>{doomed?.name}</b>: {words.deleteBudgetHint}</Text>
      </Confirm>
    </Stack>
  );
}

function Row({ b, onOpen }: { b: Budget; onOpen: () => void }) {
  const words = useWords();
  const { language } = useSpeech();
  const nameOf = useNames();
  const whom = b.scope === 'all' ? words.everybody : `${words[b.scope === 'tag' ? 'tag' : b.scope as 'org']} ${b.scope === 'tag' ? b.subject : nameOf(b.scope as 'org', b.subject)}`;
  return (
    <button type="button" className="row-button" onClick={onOpen} aria-label={b.name}>
      <span className="row-name"><b>{b.name}</b>{!b.enabled && <span className="tag">{words.disabled}</span>}<Origin from={b.origin} /><Text size="xs" c="dimmed">{whom} · {words[`period_${b.period as 'day'}`]}</Text></span>
      <span style={{ flex: 1, minWidth: 0, display: 'block' }}>
        <span className="budget-line"><span className="num"><b>{money(b.spent_nanousd)}</b> {words.ofBudget} {money(b.limit_nanousd)}{b.held_nanousd > 0 && <span style={{ color: 'var(--mantine-color-dimmed)' }}> · {words.held} {money(b.held_nanousd)}</span>}</span>
          <span style={{ color: 'var(--mantine-color-dimmed)' }} className="num">{b.forecast_nanousd !== null && <span style={b.forecast_nanousd > b.limit_nanousd ? { color: 'var(--bad)' } : undefined}>{words.forecast} {money(b.forecast_nanousd)}</span>}{b.ends && ` · ${words.beginsAnewAt} ${relative(b.ends, Date.now(), language)}`}</span></span>
        <Meter b={b} />
        {(b.refused > 0 || b.cut > 0) && <Text size="xs" c="var(--mantine-color-error)" mt={3}>{b.refused > 0 && `${b.refused} ${words.refusedOnes} ${words.sinceStart}`}{b.cut > 0 && ` ${b.cut} ${words.cutOnes}`}</Text>}
      </span>
    </button>
  );
}

function BudgetForm({ old, onClose, onDelete }: { old: Budget | null; onClose: () => void; onDelete: () => void }) {
  const words = useWords();
  const keys = useQuery(lists.keys);
  const orgs = useQuery(lists.orgs);
  const users = useQuery(lists.users);
  const [asked] = useSearchParams(); // whom a link to a new one means
  const [name, setName] = useState(old?.name ?? '');
  const [scope, setScope] = useState<string>(old?.scope ?? asked.get('scope') ?? 'all');
  const [subject, setSubject] = useState(old?.subject ?? asked.get('subject') ?? '');
  const [period, setPeriod] = useState<string>(old?.period ?? 'month');
  const [limit, setLimit] = useState<number | string>(old ? old.limit_nanousd / 1e9 : '');
  const [warn, setWarn] = useState<number | string>(old?.warn_percent ?? 80);
  const [stops, setStops] = useState(old ? old.action === 'stop' : true);
  const [cuts, setCuts] = useState(old?.cut_streams ?? false);
  const [enabled, setEnabled] = useState(old?.enabled ?? true);
  const [timeZone, setTimeZone] = useState(old ? old.time_zone : zone);
  const save = useMutation({
    mutationFn: async () => {
      const body = { scope, ...(scope !== 'all' && { subject }), period, limit_usd: Number(limit), warn_percent: typeof warn === 'number' ? warn : 0, action: stops ? 'stop' : 'warn', cut_streams: cuts, enabled, ...(timeZone && { time_zone: timeZone }) };
      if (old) await take(api.PATCH('/sluice/v1/budgets/{name}', { params: { path: { name: old.name } }, body: { ...body, ...(name !== old.name && { name }) } }));
      else await take(api.POST('/sluice/v1/budgets', { body: { name, ...body } }));
    },
    onSuccess: () => { notifications.show({ message: `${words.saved}: ${name}`, color: 'teal' }); onClose(); },
  });
  const subjects = scope === 'key' ? keys.data?.map((k) => ({ value: k.id, label: k.label || k.id })) : scope === 'org' ? orgs.data?.map((o) => ({ value: o.id, label: o.name || o.id })) : users.data?.map((u) => ({ value: u.id, label: u.name || u.id }));
  return (
    <Dialog onClose={onClose} title={old ? `${words.edit}: ${old.name}` : words.addBudget} size="lg">
      <Guard isForm><form onSubmit={(e) => { e.preventDefault(); save.mutate(); }}>
        <Stack>
          <TextInput label={words.name} value={name} onChange={(e) => setName(e.currentTarget.value)} required data-autofocus />
          <Group grow align="flex-start">
            <Select label={words.binds} value={scope} onChange={(s) => { if (s) { setScope(s); setSubject(''); } }} allowDeselect={false} data={scopes.map((s) => ({ value: s, label: s === 'all' ? words.everybody : words[s] }))} />
            {scope === 'tag' ? <TextInput label={words.tag} value={subject} onChange={(e) => setSubject(e.currentTarget.value)} required />
              : scope !== 'all' && <Select label={words[scope as 'org']} value={subject || null} onChange={(s) => setSubject(s ?? '')} data={subjects ?? []} searchable required />}
          </Group>
          <Group grow align="flex-start">
            <NumberInput label={words.limitUsd} value={limit} onChange={setLimit} min={0} decimalScale={9} prefix="$" required hideControls thousandSeparator=" " />
            <Select label={words.period} value={period} onChange={(p) => p && setPeriod(p)} allowDeselect={false} data={periods.map((p) => ({ value: p, label: words[`period_${p}`] }))} />
          </Group>
          <Group grow align="flex-start">
            <NumberInput label={words.warnFrom} value={warn} onChange={setWarn} min={0} max={100} suffix=" %" hideControls />
            {period !== 'ever' && <TextInput label={words.timeZone} value={timeZone} onChange={(e) => setTimeZone(e.currentTarget.value)} placeholder="UTC" />}
          </Group>
          <Switch label={words.stopsRequests} checked={stops} onChange={(e) => setStops(e.currentTarget.checked)} />
          <Switch label={words.cutsStreams} checked={cuts} onChange={(e) => setCuts(e.currentTarget.checked)} disabled={!stops} />
          <Switch label={words.enabled} checked={enabled} onChange={(e) => setEnabled(e.currentTarget.checked)} />
          {old && old.origin !== 'api' && <Text size="xs" c="dimmed">{words.stands}: <Origin from={old.origin} /></Text>}
          {save.error && <Failure error={save.error} overwrite={() => save.mutate()} />}
          <Group justify="space-between">
            {old ? <Button variant="subtle" color="red" onClick={onDelete}>{words.delete}</Button> : <span />}
            <Group gap="xs"><Button variant="default" onClick={onClose}>{words.cancel}</Button><Button type="submit" loading={save.isPending} disabled={!name.trim() || limit === '' || (scope !== 'all' && !subject)}>{old ? words.save : words.create}</Button></Group>
          </Group>
        </Stack>
      </form></Guard>
    </Dialog>
  );
}
