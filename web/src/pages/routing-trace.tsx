// The decision for a typed request: what the name leads to, who would be asked in which order and why; and what if somebody were down.
import { Autocomplete, Button, Group, JsonInput, MultiSelect, Paper, Select, Stack, Text } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { IconBolt, IconBoltOff, IconRoute } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Link, useSearchParams } from 'wouter';
import { lists } from '../api/lists';
import { type Asked, type Candidate, routing, type Strategy, tasks, trace } from '../api/routing';
import { useWords } from '../i18n';
import { rate, said, span } from '../parts/format';
import { Mark } from '../parts/mark';
import { Empty, Loaded } from '../parts/pieces';

/** The body of a conversation that was typed; null while it is none. */
function bodyOf(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return value !== null && typeof value === 'object' && !Array.isArray(value) ? value as Record<string, unknown> : null;
  } catch {
    return null;
  }
}

const looks: Record<string, 'fine' | 'warn' | 'bad'> = { ready: 'fine', probe: 'warn', strained: 'warn', limited: 'warn', cooling: 'bad', down: 'bad', excluded: 'bad' };

export function Decision() {
  const words = useWords();
  const [search, setSearch] = useSearchParams();
  const [text, setText] = useState(search.get('model') ?? '');
  const [model] = useDebouncedValue(text.trim(), 250);
  const listOf = (name: string) => (search.get(name) ?? '').split(',').filter(Boolean);
  const [down, exclude] = [listOf('down'), listOf('exclude')];
  const put = (name: string, value: string) => setSearch((old) => { const to = new URLSearchParams(old); if (value) to.set(name, value); else to.delete(name); return to; }, { replace: true });
  const models = useQuery(lists.models);
  const combos = useQuery(routing.combos);
  const aliases = useQuery(lists.aliases);
  const providers = useQuery(lists.providers);
  const names = [...new Set([...(combos.data ?? []).map((c) => c.name), ...(aliases.data ?? []).map((a) => a.alias).filter((a) => !/[*?]/.test(a)), ...(models.data ?? []).map((m) => m.name)])];
  const all = providers.data?.map((p) => p.name) ?? [];
  const kindOf = new Map(providers.data?.map((p) => [p.name, p.type]));
  const keys = useQuery(lists.keys);
  const [key, task] = [search.get('key') ?? '', search.get('task') ?? ''];
  const [request, setRequest] = useState(''); // it may be long, and is nobody else's: not in the address
  const [settled] = useDebouncedValue(request.trim(), 400);
  const body = bodyOf(settled);
  const found = useQuery({
    ...trace({ model, down, exclude, ...(key && { key }), ...(body ? { request: body as Asked['request'] } : task && { task: task as NonNullable<Asked['task']> }) }), placeholderData: (old) => old,
  });
  const toggle = (name: string) => put('down', (down.includes(name) ? down.filter((d) => d !== name) : [...down, name]).join(','));
  return (
    <Stack gap="md">
      <Paper withBorder p="md">
        <Group gap="sm" align="flex-start">
          <Autocomplete label={words.whatIsAsked} placeholder={words.traceHint} data={names} limit={30} value={text} onChange={(v) => { setText(v); put('model', v.trim()); }} flex="2 1 240px" classNames={{ input: 'mono' }} />
          <MultiSelect label={words.takenDown} data={all} value={down} onChange={(v) => put('down', v.join(','))} flex="1 1 200px" searchable placeholder={down.length ? undefined : words.none} />
          <MultiSelect label={words.takenAbsent} data={all} value={exclude} onChange={(v) => put('exclude', v.join(','))} flex="1 1 200px" searchable placeholder={exclude.length ? undefined : words.none} />
        </Group>
        <Group gap="sm" align="flex-start" mt="sm">
          <Select label={words.traceKey} data={keys.data?.map((k) => ({ value: k.id, label: k.label || k.id })) ?? []} value={key || null} onChange={(v) => put('key', v ?? '')} clearable searchable placeholder={words.anybody} flex="1 1 200px" />
          <Select label={words.traceTask} data={tasks.map((t) => ({ value: t, label: words[`task_${t}`] }))} value={body ? null : task || null} onChange={(v) => put('task', v ?? '')} clearable disabled={body !== null} placeholder={body ? words.asRequestSays : words.none} flex="1 1 200px" />
          <JsonInput label={words.traceRequest} value={request} onChange={setRequest} error={settled !== '' && body === null ? words.noJson : undefined} placeholder={'{ "messages": [{ "role": "user", "content": "…" }], "tools": [] }'} autosize minRows={1} maxRows={12} flex="2 1 300px" classNames={{ input: 'mono' }} />
        </Group>
      </Paper>
      {model === '' ? <Paper withBorder><Empty icon={<IconRoute size={36} />} title={words.whereTo} hint={words.traceHint2} /></Paper> : (
        <Loaded query={found}>
          {(t) => (
            <Paper withBorder component="section" aria-label={words.decision} aria-live="polite">
              <Group px="md" py="sm" gap={8}>
                <b className="mono">{model}</b>{t.model !== model && <>→ <b className="mono">{t.model}</b></>}
                <span className="tag">{words[`kind_${t.kind as 'model'}`]}</span>{t.strategy !== 'none' && <span className="tag" title={words[`say_${t.strategy as Strategy}`]}>{t.strategy}</span>}
                {t.policy && <span className="tag">{words.policy}: {t.policy}</span>}{t.tasks?.map((x) => <span key={x} className="tag">{said(words, 'task', x)}</span>)}
                {t.is_pinned && <span className="tag">{words.pinned}</span>}
                {(t.wait_ms ?? 0) > 0 && <Text size="sm" c="var(--mantine-color-error)">{words.nobodyFor} {span((t.wait_ms ?? 0) * 1000)}</Text>}
                {!t.candidates.some((c) => c.chosen) && <Text size="sm" c="var(--mantine-color-error)">{words.nobodyAnswers}</Text>}
              </Group>
              <ol className="steps-list">{t.candidates.map((c, i) => <Step key={`${c.provider}/${c.provider_model}/${i}`} c={c} no={i + 1} kind={kindOf.get(c.provider)} isDown={down.includes(c.provider)} onToggle={() => toggle(c.provider)} />)}</ol>
            </Paper>
          )}
        </Loaded>
      )}
    </Stack>
  );
}

function Step({ c, no, kind, isDown, onToggle }: { c: Candidate; no: number; kind: string | undefined; isDown: boolean; onToggle: () => void }) {
  const words = useWords();
  return (
    <li className="step-line" data-chosen={c.chosen || undefined}>
      <span className="step-no num" aria-hidden>{no}</span>
      <Mark name={c.provider} kind={kind} size={28} />
      <div className="step-text">
        <div className="ell"><Link href={`/providers/${encodeURIComponent(c.provider)}`} className="plain"><b style={{ fontWeight: 600 }}>{c.provider}</b></Link> <span className="mono">{c.provider_model}</span>{c.combo && <span className="tag" style={{ marginLeft: 6 }}>{c.combo}</span>}</div>
        <Text size="xs" c="dimmed">{said(words, 'why', c.why)}{c.price_nanousd !== undefined && c.price_nanousd > 0 && ` · ${rate(c.price_nanousd * 1e6)} / M ${words.input}`}{c.fault && ` · ${said(words, 'fault', c.fault)}`}</Text>
      </div>
      {c.chosen && <span className="status" data-is="fine">{words.isAsked}</span>}
      <span className="status" data-is={looks[c.state] ?? 'warn'}>{said(words, 'standing', c.state)}{(c.wait_ms ?? 0) > 0 && ` ${span((c.wait_ms ?? 0) * 1000)}`}</span>
      <Button size="compact-xs" variant={isDown ? 'light' : 'default'} color={isDown ? 'red' : 'gray'} leftSection={isDown ? <IconBolt size={13} /> : <IconBoltOff size={13} />} onClick={onToggle} aria-pressed={isDown} aria-label={`${words.takeDown}: ${c.provider}`}>{isDown ? words.bringUp : words.takeDown}</Button>
    </li>
  );
}
