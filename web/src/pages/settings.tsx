// Every setting with its value, where the value stands and what it may be, and a place to change it; and what is kept of the past.
import { ActionIcon, Button, Group, NumberInput, Paper, SegmentedControl, Select, Stack, Switch, Tabs, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { notifications } from '@mantine/notifications';
import { IconArrowBackUp, IconDeviceFloppy, IconLock, IconRefresh, IconSearch } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type ComponentType, type KeyboardEvent, memo, useEffect, useRef, useState } from 'react';
import { useLocation, useParams, useSearchParams } from 'wouter';
import { ApiError, api, type Setting, take } from '../api/client';
import type { Call } from '../api/calls';
import { lists } from '../api/lists';
import { asSeen, Reread } from '../api/tags';
import { type Language, useSpeech, useWords } from '../i18n';
import type { Words } from '../i18n/en';
import { settingsZh } from '../i18n/settings-zh';
import { count } from '../parts/format';
import { Tag } from '../parts/edited';
import { Guard } from '../parts/guard';
import { Empty, Failure, Loaded, Origin, Page } from '../parts/pieces';
import { TabList } from '../parts/tab-list';
import { Backups } from './backups';
import { Operators } from './operators';
import { Audit, History, Sessions } from './record';
import { AddressFilter } from './settings-address';
import { Cache } from './settings-cache';
import { LimitsInForce } from './settings-limits';
import { Proxies } from './settings-proxies';

const panels: { name: string; word: keyof Words; panel: ComponentType; calls: Call[] }[] = [
  { name: 'values', word: 'values', panel: Values, calls: [{ method: 'GET', path: '/sluice/v1/settings' }, { method: 'POST', path: '/sluice/v1/settings/max_attempts/check', body: { value: 6 } }, { method: 'PATCH', path: '/sluice/v1/settings/max_attempts', body: { value: 6 } }, { method: 'POST', path: '/sluice/v1/reload' }] },
  { name: 'proxies', word: 'proxies', panel: Proxies, calls: [{ method: 'GET', path: '/sluice/v1/proxies' }, { method: 'PUT', path: '/sluice/v1/proxies/office', body: { url: 'socks5h://proxy.example:1080', kinds: ['openai'] } }, { method: 'POST', path: '/api/settings/proxy/test', body: { proxyId: 'ID' } }, { method: 'DELETE', path: '/sluice/v1/proxies/office' }, { method: 'GET', path: '/admin/api/diagnostics/network' }] },
  { name: 'addresses', word: 'addressFilter', panel: AddressFilter, calls: [{ method: 'GET', path: '/sluice/v1/ip-filter' }, { method: 'PUT', path: '/sluice/v1/ip-filter', body: { mode: 'allow', allow: ['10.0.0.0/8'], deny: [] } }, { method: 'GET', path: '/sluice/v1/ip-filter/bans' }, { method: 'POST', path: '/sluice/v1/ip-filter/bans', body: { address: '203.0.113.7', duration_ms: 3_600_000 } }, { method: 'DELETE', path: '/sluice/v1/ip-filter/bans/203.0.113.7' }] },
  { name: 'limits', word: 'limitsInForce', panel: LimitsInForce, calls: [{ method: 'GET', path: '/sluice/v1/limits' }] },
  { name: 'cache', word: 'cache', panel: Cache, calls: [{ method: 'GET', path: '/sluice/v1/cache' }, { method: 'DELETE', path: '/sluice/v1/cache?model=NAME' }, { method: 'DELETE', path: '/sluice/v1/cache/stats' }] },
  { name: 'history', word: 'history', panel: History, calls: [{ method: 'GET', path: '/sluice/v1/config/versions' }, { method: 'GET', path: '/sluice/v1/config/versions/7/diff?against=3' }, { method: 'POST', path: '/sluice/v1/config/versions/3/rollback' }] },
  { name: 'sessions', word: 'sessions', panel: Sessions, calls: [{ method: 'GET', path: '/sluice/v1/sessions' }, { method: 'DELETE', path: '/sluice/v1/sessions?keep_current=true' }] },
  { name: 'operators', word: 'operators', panel: Operators, calls: [{ method: 'GET', path: '/sluice/v1/operators' }, { method: 'POST', path: '/sluice/v1/operators', body: { name: 'ann', role: 'viewer', password: '…' } }, { method: 'PATCH', path: '/sluice/v1/operators/ann', body: { role: 'admin' } }, { method: 'POST', path: '/sluice/v1/session/password', body: { current_password: '…', password: '…' } }] },
  { name: 'audit', word: 'auditLog', panel: Audit, calls: [{ method: 'GET', path: '/sluice/v1/audit?limit=100' }] },
  { name: 'backup', word: 'backup', panel: Backups, calls: [{ method: 'GET', path: '/api/db-backups' }, { method: 'PUT', path: '/api/db-backups' }, { method: 'POST', path: '/api/db-backups', body: { backupId: 'ID' } }] },
];

export default function Settings() {
  const words = useWords();
  const { rest } = useParams();
  const [, go] = useLocation();
  const reload = useMutation({
    mutationFn: () => take(api.POST('/sluice/v1/reload')),
    onSuccess: () => notifications.show({ message: words.reloaded, color: 'teal' }),
    onError: (e) => notifications.show({ title: words.notDone, message: e.message, color: 'red' }),
  });
  return (
    <Page title={words.settings} calls={panels.find((p) => p.name === (rest ?? 'values'))?.calls ?? []}
      actions={<Guard><Button variant="default" size="xs" className="wordy" aria-label={words.reload} leftSection={<IconRefresh size={14} />} loading={reload.isPending}
        onClick={() => reload.mutate()}>{words.reload}</Button></Guard>}>
      <Tabs value={rest ?? 'values'} onChange={(t) => go(t && t !== 'values' ? `/settings/${t}` : '/settings')} keepMounted={false}>
        <TabList mb="md" at={rest ?? 'values'}>
          {panels.map(({ name, word }) => <Tabs.Tab key={name} value={name}>{words[word]}</Tabs.Tab>)}
        </TabList>
        {panels.map(({ name, panel: Panel }) => <Tabs.Panel key={name} value={name}><Panel /></Tabs.Panel>)}
      </Tabs>
    </Page>
  );
}

function Values() {
  const words = useWords();
  const [search, setSearch] = useSearchParams();
  const settings = useQuery(lists.settings);
  const info = useQuery(lists.info);
  const [text, setText] = useState(search.get('q') ?? '');
  const which = search.get('which') ?? 'all';
  const wanted = text.trim().toLowerCase();
  const put = (name: string, value: string) => setSearch((old) => { const next = new URLSearchParams(old); if (value && value !== 'all') next.set(name, value); else next.delete(name); return next; }, { replace: true });
  return (
    <Stack>
      <Group gap="sm">
        <TextInput size="xs" placeholder={words.filterSettings} aria-label={words.filterSettings} leftSection={<IconSearch size={14} />} value={text}
          onChange={(e) => setText(e.currentTarget.value)} onBlur={() => put('q', text.trim())} w={{ base: '100%', xs: 300 }} />
        <SegmentedControl size="xs" aria-label={words.origin} value={which} onChange={(v) => put('which', v)} data={[{ value: 'all', label: words.all }, { value: 'set', label: words.changedOnes }, { value: 'locked', label: words.lockedOnes }]} />
      </Group>
      <Loaded query={settings}>
        {(all) => {
          const rows = all.filter((s) => `${s.name} ${s.sentence} ${settingsZh[s.name] ?? ''} ${s.variable}`.toLowerCase().includes(wanted) && (which === 'all' || (which === 'set' ? s.origin !== 'default' : isLocked(s))));
          return rows.length === 0 ? <Paper withBorder><Empty icon={<IconSearch size={30} />} title={words.noMatch} hint="" /></Paper>
            : <Paper withBorder component="ul" className="rows" aria-label={words.settings}>{rows.map((s) => <SettingRow key={s.name} setting={s} file={info.data?.config_file ?? ''} />)}</Paper>;
        }}
      </Loaded>
    </Stack>
  );
}

const isLocked = (s: Setting) => s.origin === 'environment' || s.is_deployed === true;
/** A number that counts nothing. */
const isName = (s: Setting) => /(^|_)port$/.test(s.name);
type Value = string | number | boolean;

const shown = (s: Setting, v: number, language: Language) => (isName(s) ? String(v) : count(v, language));

/** What is wrong with a value, as far as the setting's own words say; the rest the server is asked. */
function fault(s: Setting, value: Value, words: Words, language: Language): string {
  if (s.type !== 'integer') return '';
  const least = s.min ?? 0;
  return typeof value === 'number' && Number.isInteger(value) && value >= least && (s.max === undefined || value <= s.max) ? '' : `${words.wholeNumber} ${shown(s, least, language)} – ${s.max === undefined ? '∞' : shown(s, s.max, language)}`;
}

/** A row; what it is changed with is drawn when it comes near. */
const SettingRow = memo(function SettingRow({ setting: s, file }: { setting: Setting; file: string }) {
  const words = useWords();
  const { language } = useSpeech();
  const box = useRef<HTMLLIElement>(null);
  const [isNear, setNear] = useState(false);
  useEffect(() => {
    if (!box.current) return;
    const watch = new IntersectionObserver((all) => { if (all.some((e) => e.isIntersecting)) { setNear(true); watch.disconnect(); } }, { rootMargin: '400px 0px' });
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const locked = isLocked(s);
  const told = (v: unknown) => (typeof v === 'number' ? shown(s, v, language) : v === '' ? words.emptyText : String(v));
  const place = s.origin === 'environment' ? s.variable : s.origin === 'file' ? `${file.split('/').pop() ?? ''}: server.${s.name}` : '';
  return (
    <li className="setting" ref={box}>
      <div className="setting-text">
        <div className="setting-name"><b className="mono">{s.name}</b><Origin from={s.origin === 'default' ? 'api' : s.origin} />{place && <span className="mono setting-place" title={s.origin === 'file' ? file : undefined}>{place}</span>}</div>
        <div>{language === 'zh' ? settingsZh[s.name] ?? s.sentence : s.sentence}</div>
        <div className="setting-note">{words.defaultIs} <span className="mono">{told(s.default)}</span>{s.type === 'integer' && s.max !== undefined && <> · {told(s.min ?? 0)} – {told(s.max)}</>}
          {s.origin === 'file' && !locked && <> · {words.writtenThere}</>}{locked && <> · {s.is_deployed ? words.deployedOnly : words.readOnly}{s.is_deployed && <> (<span className="mono">{s.variable}</span>)</>}</>}</div>
      </div>
      {isNear ? <Guard><Editor s={s} locked={locked} /></Guard> : <div className="setting-value mono">{told(s.value)}</div>}
    </li>
  );
});

function Editor({ s, locked }: { s: Setting; locked: boolean }) {
  const { words, language } = useSpeech();
  const queries = useQueryClient();
  const [draft, setDraft] = useState<Value | null>(null); // null: as it is
  const value = draft ?? (s.value as Value);
  const isChanged = draft !== null && draft !== s.value;
  const [settled] = useDebouncedValue(value, 350);
  const local = isChanged ? fault(s, value, words, language) : '';
  const asked = useQuery({
    queryKey: ['check', s.name, settled], retry: false, staleTime: Infinity, enabled: isChanged && !local && s.type === 'string' && settled === value && s.words === undefined,
    queryFn: async () => {
      try {
        await take(api.POST('/sluice/v1/settings/{name}/check', { params: { path: { name: s.name } }, body: { value: settled } }));
        return '';
      } catch (e) {
        if (e instanceof ApiError && e.status === 400) return e.message;
        throw e;
      }
    },
  });
  const save = useMutation({
    mutationFn: ({ next, isForced = false }: { next: Value | null; isForced?: boolean }) => {
      const change = () => take(api.PATCH('/sluice/v1/settings/{name}', { params: { path: { name: s.name } }, body: { value: next } }));
      return isForced ? change() : asSeen(`/sluice/v1/settings/${s.name}`, s, change);
    },
    onSuccess: () => { setDraft(null); notifications.show({ message: `${words.saved}: ${s.name}`, color: 'teal' }); },
  });
  const conflict = save.error instanceof ApiError && save.error.status === 412 ? save.error : null;
  const wrong = local || (isChanged && asked.data) || (conflict ? '' : save.error?.message) || '';
  const put = (v: Value) => { save.reset(); setDraft(v); };
  const onKeyDown = (e: KeyboardEvent) => { if (e.key === 'Enter' && isChanged && !wrong) save.mutate({ next: value }); };
  const common = { size: 'xs', 'aria-label': s.name, disabled: locked, error: wrong || undefined, w: { base: '100%', xs: 260 } } as const;
  const reread = () => { setDraft(null); save.reset(); void queries.invalidateQueries(); };
  const backWord = isChanged ? words.undo : words.toDefault;
  const editor = (
    <Group gap={6} wrap="nowrap" align="flex-start" className="setting-value">
      {isChanged && <Tag path={`/sluice/v1/settings/${s.name}`} />}
      {locked && <IconLock size={16} aria-label={words.readOnly} style={{ marginTop: 7, flex: 'none' }} />}
      {s.type === 'boolean' ? <Switch size="sm" aria-label={s.name} disabled={locked} error={save.error?.message} checked={value === true} onChange={(e) => { setDraft(e.currentTarget.checked); save.mutate({ next: e.currentTarget.checked }); }} mt={4} />
        : s.words !== undefined ? <Select {...common} data={s.words} value={String(value)} onChange={(v) => { if (v !== null) { setDraft(v); save.mutate({ next: v }); } }} allowDeselect={false} />
        : s.type === 'integer' ? <NumberInput {...common} value={value as number} onChange={put} thousandSeparator={isName(s) ? '' : ','} allowDecimal={false} hideControls onKeyDown={onKeyDown} />
        : <TextInput {...common} value={String(value)} onChange={(e) => put(e.currentTarget.value)} onKeyDown={onKeyDown} />}
      {!locked && s.type !== 'boolean' && s.words === undefined && (
        <ActionIcon variant={isChanged && !wrong ? 'filled' : 'default'} size={30} disabled={!isChanged || wrong !== ''} loading={save.isPending} onClick={() => save.mutate({ next: value })} aria-label={`${words.save} ${s.name}`} title={words.save}><IconDeviceFloppy size={15} /></ActionIcon>
      )}
      {!locked && <ActionIcon variant="default" size={30} disabled={!isChanged && s.origin === 'default'} onClick={() => (isChanged ? put(s.value as Value) : save.mutate({ next: null }))} aria-label={`${backWord} ${s.name}`} title={backWord}><IconArrowBackUp size={15} /></ActionIcon>}
    </Group>
  );
  return conflict ? <Stack gap={6}>{editor}<Reread value={reread}><Failure error={conflict} overwrite={() => save.mutate({ next: save.variables?.next ?? value, isForced: true })} /></Reread></Stack> : editor;
}
