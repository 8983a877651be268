// One request in full: what it was, who was asked and how that went, what became of its body on the way, what it cost; and the
// ways to send it again or to show it to somebody.
import { Alert, Badge, Button, Code, Group, Menu, Paper, SegmentedControl, SimpleGrid, Skeleton, Stack, Switch, Tabs, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { IconFileOff, IconLock, IconRepeat, IconShare } from '@tabler/icons-react';
import { useMutation, useQueries, useQuery } from '@tanstack/react-query';
import { Fragment, type ReactNode, useMemo, useState } from 'react';
import { Link } from 'wouter';
import { ApiError, api, type Setting, take } from '../api/client';
import { lists } from '../api/lists';
import { bodyOf, one, type RequestDetail, wayOf } from '../api/requests';
import { asSeen } from '../api/tags';
import { useSpeech, useWords } from '../i18n';
import { type Line, lines, type Marks, marksOf, parsed } from '../parts/body-lines';
import { Dialog } from '../parts/dialog';
import { Copy } from '../parts/dialogs';
import { count, moment, said, size, span, speedOf } from '../parts/format';
import { Guard, useMay } from '../parts/guard';
import { Empty, Failure, Loaded, StatusBadge, When } from '../parts/pieces';
import { Price } from '../parts/price';
import { download, shared } from '../parts/redact';
import { TargetSelect } from '../parts/target';

const whiches = ['client-request', 'upstream-request', 'upstream-response', 'client-response'] as const;

export function Inspector({ id }: { id: string }) {
  return <Loaded query={useQuery(one(id))}>{(r) => <Story r={r} />}</Loaded>;
}

function Story({ r }: { r: RequestDetail }) {
  const words = useWords();
  const [isAgain, setAgain] = useState(false);
  return (
    <Stack gap="lg">
      <Group justify="space-between" align="flex-start">
        <Stack gap={4} miw={0}>
          <Group gap={10}><StatusBadge status={r.status} /><Text className="mono" fw={600}>{r.model ?? '–'}</Text>{r.stream && <Badge variant="light" size="sm">{words.stream}</Badge>}<When iso={r.ended} /></Group>
          <Group gap={2}><Text size="xs" c="dimmed" className="mono">{r.id}</Text><Copy text={r.id} /></Group>
        </Stack>
        <Group gap={8}>
          <Guard><Button size="xs" variant="default" leftSection={<IconRepeat size={14} />} onClick={() => setAgain(true)} disabled={!r.has_bodies} title={r.has_bodies ? undefined : words.bodiesNotKept}>{words.replay}</Button></Guard>
          <Share r={r} />
        </Group>
      </Group>
      {r.error && (
        <Alert color="red" variant="light" title={r.error} p="sm"><Text size="sm" className="said">{messageOf(r.error_message) || words.noWords}</Text></Alert>
      )}
      <Tabs defaultValue="story" keepMounted={false}>
        <Tabs.List mb="md"><Tabs.Tab value="story">{words.story}</Tabs.Tab><Tabs.Tab value="bodies">{words.bodies}</Tabs.Tab></Tabs.List>
        <Tabs.Panel value="story"><Stack gap="lg"><Facts r={r} /><Fall r={r} /><Price r={r} />{r.dropped.length > 0 && <Dropped names={r.dropped} />}</Stack></Tabs.Panel>
        <Tabs.Panel value="bodies"><Bodies r={r} /></Tabs.Panel>
      </Tabs>
      {isAgain && <Again r={r} onClose={() => setAgain(false)} />}
    </Stack>
  );
}

/** What a provider's error says, where it came as JSON. */
function messageOf(text: string | null): string {
  const found = /^\s*[[{]/.test(text ?? '') ? parsed(text ?? '') : undefined;
  const error = (Array.isArray(found) ? found[0] : found) as { error?: unknown; message?: unknown; detail?: unknown } | undefined;
  const inner = error?.error ?? error;
  const told = typeof inner === 'object' && inner !== null ? (inner as { message?: unknown }).message ?? error?.message ?? error?.detail : inner;
  return typeof told === 'string' && told ? told : text ?? '';
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return <div><div className="fact-name">{name}</div><div className="fact-value num">{children}</div></div>;
}

function Facts({ r }: { r: RequestDetail }) {
  const words = useWords();
  const { language } = useSpeech();
  const rate = speedOf(r.output_tokens, r.duration_us, r.stream ? r.ttft_us : null);
  const speed = rate === null ? '–' : `${rate < 100 ? rate.toFixed(1) : count(Math.round(rate), language)} ${words.perSecondShort}`;
  return (
    <div className="facts">
      <Fact name={words.time}>{moment(r.ended, language)}</Fact>
      <Fact name={words.provider}>{r.provider ? <Link href={`/providers/${encodeURIComponent(r.provider)}`}>{r.provider}</Link> : '–'}</Fact>
      <Fact name={words.upstreamModel}><span className="mono">{r.provider_model ?? '–'}</span></Fact>
      <Fact name={words.format}>{r.client_format ?? '–'} → {r.upstream_format ?? '–'}</Fact>
      <Fact name={words.operation}>{r.operation}</Fact>
      <Fact name={words.key}>{r.key ? <Link href={`/keys/${encodeURIComponent(r.key)}`}>{r.key_label || r.key}</Link> : words.none}</Fact>
      <Fact name={words.ttft}>{span(r.ttft_us)}</Fact>
      <Fact name={words.duration}>{span(r.duration_us)}</Fact>
      <Fact name={words.speed}>{speed}</Fact>
      <Fact name={words.input}>{count(r.input_tokens, language)}</Fact>
      <Fact name={words.cached}>{count(r.cache_read_tokens, language)}</Fact>
      <Fact name={words.cacheWritten}>{count(r.cache_write_tokens, language)}</Fact>
      <Fact name={words.output}>{count(r.output_tokens, language)}</Fact>
      <Fact name={words.reasoning}>{count(r.reasoning_tokens, language)}</Fact>
      <Fact name={words.usageFrom}>{said(words, 'quality', r.usage_quality)}</Fact>
      <Fact name={words.sizes}>{size(r.bytes_in)} → {size(r.bytes_out)}</Fact>
      {r.client_address && <Fact name={words.address}><span className="mono">{r.client_address}</span></Fact>}
      {r.user_agent && <Fact name={words.client}>{r.user_agent}</Fact>}
      {r.trace_id && <Fact name={words.trace}><span className="mono">{r.trace_id}</span></Fact>}
    </div>
  );
}

/** The attempts on one line of time; of the one that answered, the wait for its first token is drawn lighter. */
function Fall({ r }: { r: RequestDetail }) {
  const words = useWords();
  const passed = r.tried.filter((t) => t.fault === 'unpriced'); // who would have been next, but was not asked
  const told = r.tried.filter((t) => t.fault !== 'unpriced');
  const tries = told.length > 0 || r.attempts === 0 ? told : [{ provider: r.provider ?? '', provider_model: r.provider_model ?? '', status: r.status, fault: '', code: r.error ?? '', message: '', at_us: 0, duration_us: r.duration_us }];
  const all = Math.max(r.duration_us, 1, ...tries.map((t) => t.at_us + t.duration_us));
  if (tries.length + passed.length === 0) return null;
  const at = (us: number) => `${(100 * us) / all}%`;
  const first = tries[0]?.at_us ?? 0;
  return (
    <Stack gap={8}>
      <Text size="sm" fw={600}>{words.tried} · {tries.length}</Text>
      {passed.map((t, i) => <Text key={i} size="sm"><b style={{ fontWeight: 600 }}>{t.provider}</b> <span className="mono">{t.provider_model}</span> <Text span inherit c="dimmed">{words.passedOver}: {said(words, 'fault', t.fault ?? '')}</Text></Text>)}
      {tries.length > 0 && <div className="fall">
        {first > 0 && <><Text size="sm" c="dimmed">{words.beforeAsking}</Text><div className="fall-track"><div className="fall-bar" style={{ left: 0, width: at(first), background: 'var(--mantine-color-gray-6)' }} /></div><Text size="sm" ta="right" className="num">{span(first)}</Text></>}
        {tries.map((t, i) => {
          const isBad = Boolean(t.fault) || (t.status ?? 0) >= 400;
          const color = isBad ? 'var(--bad)' : 'var(--fine)';
          const isLast = i === tries.length - 1;
          const wait = !isBad && isLast && r.ttft_us !== null ? Math.max(0, r.ttft_us - t.at_us) : 0;
          const why = [t.status, t.fault && said(words, 'fault', t.fault), t.code !== t.fault ? t.code : ''].filter(Boolean).join(' · ');
          return (
            <Fragment key={i}>
              <div className="ell"><b style={{ fontWeight: 600 }}>{t.provider}</b> <span className="mono">{t.provider_model}</span></div>
              <div className="fall-track" role="img" aria-label={`${t.provider}: ${why}, ${span(t.duration_us)}`}>
                {wait > 0 && <div className="fall-bar" style={{ left: at(t.at_us), width: at(wait), background: color, opacity: 0.35 }} title={`${words.ttft} ${span(wait)}`} />}
                <div className="fall-bar" style={{ left: at(t.at_us + wait), width: at(Math.max(0, t.duration_us - wait)), background: color }} title={why} />
              </div>
              <div className="num" style={{ textAlign: 'right' }}>{span(t.duration_us)}</div>
              {(isBad || t.message) && <Text size="xs" className="said" style={{ gridColumn: '1 / -1' }}><span style={{ color: 'var(--mantine-color-error)' }}>{why}</span> {t.message}</Text>}
            </Fragment>
          );
        })}
      </div>}
    </Stack>
  );
}

function Dropped({ names }: { names: string[] }) {
  const words = useWords();
  return <Stack gap={6}><Text size="sm" fw={600}>{words.dropped}</Text><Group gap={4}>{names.map((d) => <Code key={d}>{d}</Code>)}</Group></Stack>;
}

/* ---- bodies ---- */

function Bodies({ r }: { r: RequestDetail }) {
  const words = useWords();
  const may = useMay('admin');
  const got = useQueries({ queries: whiches.map((which) => ({ ...bodyOf(r.id, which), enabled: r.has_bodies && may })) });
  const settings = useQuery({ ...lists.settings, enabled: !r.has_bodies });
  const turnOn = useMutation({
    mutationFn: (seen: Setting) => asSeen('/sluice/v1/settings/log_bodies', seen, () => take(api.PATCH('/sluice/v1/settings/{name}', { params: { path: { name: 'log_bodies' } }, body: { value: 'all' } }))),
    onError: (e) => notifications.show({ title: words.notDone, message: e.message, color: 'red' }),
    onSuccess: () => notifications.show({ message: words.bodiesFromNow, color: 'teal' }),
  });
  const sent = useQuery({ ...wayOf(r.id, 'request'), enabled: r.has_bodies && may });
  const back = useQuery({ ...wayOf(r.id, 'response'), enabled: r.has_bodies && may });
  const marks = useMemo(() => [marksOf(sent.data, 'from'), marksOf(sent.data, 'to'), marksOf(back.data, 'from'), marksOf(back.data, 'to')], [sent.data, back.data]);
  const [isTogether, setTogether] = useState(true);
  const gathered = [sent.data?.from_gathered, sent.data?.to_gathered, back.data?.from_gathered, back.data?.to_gathered]; // of what came as events
  const values = got.map((q, i) => gathered[i] ?? parsed(q.data?.text));
  const uncompared = [sent.error, back.error].find((e) => e && !(e instanceof ApiError && e.code === 'not_comparable')) ?? null;
  if (!r.has_bodies) {
    const kept = settings.data?.find((s) => s.name === 'log_bodies');
    return <Empty icon={<IconFileOff size={36} />} title={words.bodiesNotKept} hint={words.bodiesNotKeptHint}
      action={kept?.value === 'off' && kept.origin !== 'file' && kept.origin !== 'environment' ? <Button size="xs" loading={turnOn.isPending} onClick={() => turnOn.mutate(kept)}>{words.keepBodies}</Button> : <Button size="xs" variant="default" component={Link} href="/settings?q=log_bodies">{words.settings}</Button>} />;
  }
  if (!may) return <Empty icon={<IconLock size={36} />} title={words.bodies} hint={`${words.takesRole} ${words.name_admin}`} />;
  return (
    <Stack gap="sm">
      <Group gap="md">{(['kept', 'mapped', 'dropped', 'added', 'uncompared'] as const).map((f) => <Group key={f} gap={6}><span style={{ width: 10, height: 10, borderRadius: 2, background: `var(--${f})` }} /><Text size="xs" c="dimmed">{words[`fate_${f}`]}</Text></Group>)}</Group>
      {r.dropped.length > 0 && <Dropped names={r.dropped} />}
      {uncompared ? <Failure error={uncompared} retry={() => { void sent.refetch(); void back.refetch(); }} /> : sent.error ? <Text size="xs" c="dimmed">{sent.error.message}</Text> : back.error && <Text size="xs" c="dimmed">{back.error.message}</Text>}
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="sm">
        {whiches.map((which, i) => {
          const q = got[i];
          const name = words[`body_${which.replace('-', '_') as 'client_request'}`];
          const isStream = (gathered[i] ?? null) !== null;
          const asSent = isStream && !isTogether;
          return (
            <Paper key={which} withBorder component="section" aria-label={name}>
              <Group justify="space-between" gap="xs" px="sm" py={6} mih={43} style={{ borderBottom: '1px solid var(--mantine-color-default-border)' }}>
                <Text size="xs" fw={600}>{name}</Text>
                <Group gap={6}>
                  {isStream && <SegmentedControl size="xs" aria-label={`${name}: ${words.stream}`} value={isTogether ? 'together' : 'sent'} onChange={(v) => setTogether(v === 'together')}
                    data={[{ value: 'together', label: words.putTogether }, { value: 'sent', label: words.asSent }]} />}
                  {q?.data && <Text size="xs" c="dimmed">{size(q.data.size)}{q.data.truncated && ` · ${words.cut}`}</Text>}{q?.data && <Copy text={isStream && isTogether ? JSON.stringify(gathered[i], null, 2) : q.data.text} />}
                </Group>
              </Group>
              <div className="vt" style={{ maxHeight: 460, padding: 10 }} tabIndex={0} role="region" aria-label={`${name}: ${words.bodies}`}>
                {!q || q.isPending ? <Skeleton height={120} /> : q.error ? <Failure error={q.error} retry={() => void q.refetch()} /> : <Body key={String(asSent)} text={q.data?.text ?? ''} value={asSent ? undefined : values[i]} marks={asSent ? undefined : marks[i]} />}
              </div>
            </Paper>
          );
        })}
      </SimpleGrid>
    </Stack>
  );
}

const mostLines = 1500;

function Body({ text, value, marks }: { text: string; value: unknown; marks: Marks | undefined }) {
  const words = useWords();
  const [hasAll, setAll] = useState(false);
  const all = useMemo<Line[]>(() => (value === undefined ? text.split('\n').map((t) => ({ text: t })) : lines(value)), [text, value]);
  if (text === '') return <Text size="xs" c="dimmed">{words.none}</Text>;
  return (
    <div className="lines">
      {(hasAll ? all : all.slice(0, mostLines)).map((l, i) => {
        const mark = l.path !== undefined ? marks?.get(l.path) : undefined;
        return <div key={i} className="line" data-is={mark?.fate} title={mark?.fate === 'mapped' && mark.other !== l.path ? `↔ ${mark.other}` : mark?.fate === 'uncompared' ? words.fate_uncompared : undefined}>{l.text || ' '}</div>;
      })}
      {!hasAll && all.length > mostLines && <Button size="compact-xs" variant="default" mt="xs" onClick={() => setAll(true)}>{words.showAll} ({all.length})</Button>}
    </div>
  );
}

/* ---- again, and to others ---- */

function Again({ r, onClose }: { r: RequestDetail; onClose: () => void }) {
  const words = useWords();
  const [target, setTarget] = useState('');
  const [isStream, setStream] = useState(r.stream);
  const again = useMutation({
    mutationFn: () => take(api.POST('/sluice/v1/requests/{id}/replay', { params: { path: { id: r.id } }, body: { ...(target && { target }), stream: isStream } })),
  });
  const done = again.data;
  return (
    <Dialog onClose={onClose} title={words.replay} size="lg">
      <Stack>
        <Group align="flex-end">
          <TargetSelect label={words.replayTarget} placeholder={r.model ?? words.model} value={target} onChange={setTarget} clearable flex={1} />
          <Switch label={words.stream} checked={isStream} onChange={(e) => setStream(e.currentTarget.checked)} mb={8} />
          <Button loading={again.isPending} onClick={() => again.mutate()}>{words.send}</Button>
        </Group>
        {again.error && <Failure error={again.error} />}
        {done && (
          <Stack gap="xs" role="status">
            <Group><StatusBadge status={done.status} /><Button size="compact-sm" variant="light" component={Link} href={`/requests/${encodeURIComponent(done.request_id)}`} onClick={onClose}>{words.lookAtIt}</Button></Group>
            <Code block fz="xs" mah={320} style={{ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }} tabIndex={0}>{typeof done.body === 'string' ? done.body : JSON.stringify(done.body, null, 2)}</Code>
          </Stack>
        )}
      </Stack>
    </Dialog>
  );
}

function Share({ r }: { r: RequestDetail }) {
  const words = useWords();
  const may = useMay('admin');
  const share = useMutation({
    mutationFn: async (hasTexts: boolean) => {
      const bodies = r.has_bodies && may ? await Promise.all(whiches.map((which) => take(api.GET('/sluice/v1/requests/{id}/bodies/{which}', { params: { path: { id: r.id, which } } })))) : [];
      download(`${r.id}.json`, shared(r, bodies, hasTexts));
    },
    onError: (e) => notifications.show({ title: words.notDone, message: e.message, color: 'red' }),
  });
  return (
    <Menu position="bottom-end" width={280}>
      <Menu.Target><Button size="xs" variant="default" leftSection={<IconShare size={14} />} loading={share.isPending}>{words.share}</Button></Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{words.shareHint}</Menu.Label>
        <Menu.Item onClick={() => share.mutate(false)}>{words.shareWithout}</Menu.Item>
        <Menu.Item onClick={() => share.mutate(true)}>{words.shareWith}</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
