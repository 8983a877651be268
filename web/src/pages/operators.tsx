// Who administers: made, given another role or password, switched off, removed; and one's own password.
import { Button, Group, Modal, PasswordInput, Select, Stack, Switch, Table, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconLock, IconPlus } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';
import { useSearchParams } from 'wouter';
import { ApiError, api, take } from '../api/client';
import { entry } from '../api/entry';
import { lists, type Operator } from '../api/lists';
import { useWords } from '../i18n';
import { Confirm } from '../parts/dialogs';
import { said } from '../parts/format';
import { Edited } from '../parts/edited';
import { Failure, Loaded, Origin, When } from '../parts/pieces';
import { Grid } from '../parts/grid';

const roles = ['viewer', 'member', 'admin', 'owner'] as const;
type Role = (typeof roles)[number];
const operatorPath = (id: string) => `/sluice/v1/operators/${encodeURIComponent(id)}`;

export function Operators() {
  const words = useWords();
  const me = useQuery(entry).data?.who;
  const operators = useQuery(lists.operators);
  const [search, setSearch] = useSearchParams();
  const edited = search.has('new') ? '' : search.get('operator'); // an id, or '' for a new one
  const setEdited = (id: string | null) => setSearch(id === null ? {} : id === '' ? { new: '' } : { operator: id });
  const isOwn = search.has('own');
  const setOwn = (is: boolean) => setSearch(is ? { own: '' } : {});
  const isOwner = me?.role === 'owner';
  const open = edited === null ? undefined : operators.data?.find((o) => o.id === edited);
  return (
    <Stack gap="sm">
      <Group justify="space-between">
        <Text size="sm" c="dimmed">{words.operatorsHint}</Text>
        <Group gap="xs">
          {me?.kind === 'operator' && <Button size="xs" variant="default" leftSection={<IconLock size={14} />} onClick={() => setOwn(true)}>{words.ownPassword}</Button>}
          {isOwner && <Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => setEdited('')}>{words.addOperator}</Button>}
        </Group>
      </Group>
      {operators.error instanceof ApiError && operators.error.status === 403 ? <Text size="sm">{words.ownersOnly}</Text> : (
        <Loaded query={operators}>
          {(all) => (
            <Grid head={[words.name, words.role, words.state, words.passwordSet, words.created]}>
              {all.map((o) => (
                <Table.Tr key={o.id} className={isOwner ? 'clickable' : undefined} onClick={isOwner ? () => setEdited(o.id) : undefined}>
                  <Table.Td><Group gap={8}>{isOwner ? <button type="button" className="vt-sort"><b style={{ fontWeight: 600 }}>{o.name}</b></button> : <b>{o.name}</b>}<Origin from={o.origin} />{o.id === me?.id && <span className="tag">{words.you}</span>}</Group></Table.Td>
                  <Table.Td><span className="tag">{said(words, 'name', o.role)}</span></Table.Td>
                  <Table.Td><span className="status" data-is={o.can_sign_in ? 'fine' : 'warn'}>{o.can_sign_in ? words.enabled : o.enabled ? words.noPassword : words.disabled}</span></Table.Td>
                  <Table.Td><When iso={o.password_changed_at} /></Table.Td>
                  <Table.Td><When iso={o.created_at} /></Table.Td>
                </Table.Tr>
              ))}
            </Grid>
          )}
        </Loaded>
      )}
      <Modal opened={(edited === '' && isOwner) || open !== undefined} onClose={() => setEdited(null)} title={open ? `${words.edit}: ${open.name}` : words.addOperator}>
        {edited === '' && isOwner ? <Form old={null} onClose={() => setEdited(null)} />
          : open && isOwner && <Edited path={operatorPath(open.id)} seen={open}><Form old={open} onClose={() => setEdited(null)} /></Edited>}
      </Modal>
      <Modal opened={isOwn} onClose={() => setOwn(false)} title={words.ownPassword}>{isOwn && <OwnPassword name={me?.name ?? ''} onClose={() => setOwn(false)} />}</Modal>
    </Stack>
  );
}

function Form({ old, onClose }: { old: Operator | null; onClose: () => void }) {
  const words = useWords();
  const [name, setName] = useState(old?.name ?? '');
  const [role, setRole] = useState<Role>((old?.role ?? 'viewer') as Role);
  const [enabled, setEnabled] = useState(old?.enabled ?? true);
  const [password, setPassword] = useState('');
  const [isDoomed, setDoomed] = useState(false);
  const path = { id: old?.id ?? '' };
  const save = useMutation({
    mutationFn: async () => {
      if (old) await take(api.PATCH('/sluice/v1/operators/{id}', { params: { path }, body: { ...(name !== old.name && { name: name.trim() }), ...(role !== old.role && { role }), ...(enabled !== old.enabled && { enabled }), ...(password && { password }) } }));
      else await take(api.POST('/sluice/v1/operators', { body: { name: name.trim(), role, enabled, password } }));
    },
    onSuccess: () => { notifications.show({ message: `${words.saved}: ${name}`, color: 'teal' }); onClose(); },
  });
  const remove = useMutation({ mutationFn: () => take(api.DELETE('/sluice/v1/operators/{id}', { params: { path } })), onSuccess: onClose });
  const place = old && old.origin !== 'api' ? old.origin : '';
  return (
    <form onSubmit={(e) => { e.preventDefault(); save.mutate(); }}>
      <Stack>
        {place && <Text size="sm" c="dimmed">{words.stands}: <Origin from={place} /> {words.operatorThere}</Text>}
        <TextInput label={words.name} value={name} onChange={(e) => setName(e.currentTarget.value)} required disabled={place !== ''} autoComplete="off" data-autofocus />
        <Select label={words.role} value={role} onChange={(r) => r && setRole(r as Role)} data={roles.map((r) => ({ value: r, label: words[`name_${r}`] }))} description={words[`role_${role}`]} allowDeselect={false} disabled={place !== ''} />
        <PasswordInput label={old ? words.newPassword : words.password} description={old ? words.newPasswordHint : undefined} value={password} onChange={(e) => setPassword(e.currentTarget.value)} required={!old} disabled={place !== ''} autoComplete="new-password" />
        <Switch label={words.maySignIn} checked={enabled} onChange={(e) => setEnabled(e.currentTarget.checked)} disabled={place !== ''} />
        {save.error && <Failure error={save.error} overwrite={() => save.mutate()} />}
        <Group justify="space-between">
          {old && !place ? <Button variant="subtle" color="red" onClick={() => setDoomed(true)}>{words.delete}</Button> : <span />}
          <Group gap="xs"><Button variant="default" onClick={onClose}>{words.cancel}</Button><Button type="submit" loading={save.isPending} disabled={place !== '' || !name.trim() || (!old && !password)}>{old ? words.save : words.create}</Button></Group>
        </Group>
      </Stack>
      <Confirm title={words.deleteOperator} opened={isDoomed} busy={remove.isPending} error={remove.error} onClose={() => { setDoomed(false); remove.reset(); }} onDo={() => remove.mutate()}>
        <Text><b>{old?.name}</b>: {words.deleteOperatorHint}</Text>
      </Confirm>
    </form>
  );
}

/** The other sessions of whoever does it end; this one stays. */
function OwnPassword({ name, onClose }: { name: string; onClose: () => void }) {
  const words = useWords();
  const [sofar, setSofar] = useState('');
  const [password, setPassword] = useState('');
  const [again, setAgain] = useState('');
  const save = useMutation({
    mutationFn: () => take(api.POST('/sluice/v1/session/password', { body: { current_password: sofar, password } })),
    onSuccess: () => { notifications.show({ message: words.passwordChanged, color: 'teal' }); onClose(); },
  });
  const differs = again !== '' && again !== password;
  const submit = (e: FormEvent) => { e.preventDefault(); save.mutate(); };
  return (
    <form onSubmit={submit}>
      <Stack>
        <input type="text" name="username" autoComplete="username" value={name} readOnly hidden />
        <PasswordInput label={words.passwordSoFar} value={sofar} onChange={(e) => setSofar(e.currentTarget.value)} autoComplete="current-password" required data-autofocus />
        <PasswordInput label={words.newPassword} description={words.ownPasswordHint} value={password} onChange={(e) => setPassword(e.currentTarget.value)} autoComplete="new-password" required />
        <PasswordInput label={words.sameAgain} value={again} onChange={(e) => setAgain(e.currentTarget.value)} error={differs ? words.differs : undefined} autoComplete="new-password" required />
        {save.error && <Failure error={save.error} />}
        <Group justify="flex-end" gap="xs"><Button variant="default" onClick={onClose}>{words.cancel}</Button><Button type="submit" loading={save.isPending} disabled={!sofar || !password || again !== password}>{words.save}</Button></Group>
      </Stack>
    </form>
  );
}
