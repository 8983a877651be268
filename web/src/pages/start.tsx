// First steps: a provider, a live test, a key, a command to copy, and the first request seen to arrive.
import { Alert, Anchor, Button, Group, Loader, Paper, PasswordInput, Select, Stack, Text, TextInput, UnstyledButton } from '@mantine/core';
import { IconBolt, IconCheck, IconCircleCheck, IconPlayerPlay } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { Link, useSearchParams } from 'wouter';
import { type Answer, ask } from '../api/chat';
import { api, take } from '../api/client';
import { discovered, lists } from '../api/lists';
import { useWords } from '../i18n';
import { Catalogue } from '../parts/catalogue';
import { Snippet } from '../parts/dialogs';
import { span } from '../parts/format';
import { Guard } from '../parts/guard';
import { Mark } from '../parts/mark';
import { Failure, Loaded, Page } from '../parts/pieces';
import { UseIt } from '../parts/use-it';

export default function Start() {
  const words = useWords();
  const [search, setSearch] = useSearchParams();
  const provider = search.get('provider') ?? '';
  const model = search.get('model') ?? '';
  const keyId = search.get('key') ?? '';
  const [secret, setSecret] = useState(''); // of the key made here: in memory only
  const put = (change: Record<string, string>) => setSearch((old) => { const next = new URLSearchParams(old); for (const [k, v] of Object.entries(change)) if (v) next.set(k, v); else next.delete(k); return next; });
  const at = !provider ? 1 : !model ? 2 : !keyId ? 3 : 4;
  return (
    <Page title={words.start} note={words.startHint} calls={[
      { method: 'POST', path: '/sluice/v1/providers', body: { name: 'openai', type: 'openai', api_key: '…' } },
      { method: 'GET', path: `/admin/api/config/providers/${provider || 'openai'}/models` },
      { method: 'POST', path: '/sluice/v1/keys', body: { label: 'laptop', scopes: ['inference', 'models'] } },
      { method: 'GET', path: `/sluice/v1/requests?key=${keyId || 'ID'}&limit=1` }]}>
      <div className="steps">
        <Step no={1} at={at} title={words.stepProvider} said={provider} onBack={() => put({ provider: '', model: '', key: '' })}><ChooseProvider onChosen={(name) => put({ provider: name, model: '' })} /></Step>
        <Step no={2} at={at} title={words.stepTest} said={model} onBack={() => put({ model: '', key: '' })}>{provider && <TryProvider key={provider} provider={provider} onDone={(name) => put({ model: name })} />}</Step>
        <Step no={3} at={at} title={words.stepKey} said={keyId && words.stepKeyMade} onBack={() => put({ key: '' })}><MakeKey onMade={(id, text) => { setSecret(text); put({ key: id }); }} /></Step>
        <Step no={4} at={at} title={words.stepUse}>
          <Stack>
            {secret ? <><Alert color="teal" variant="light" title={words.keyOnce}>{words.keyOnceHint}</Alert><Snippet text={secret} /></> : <Text size="sm" c="dimmed">{words.keyGone}</Text>}
            <UseIt secret={secret || '$SLUICE_KEY'} model={model} />
            {keyId && <FirstRequest keyId={keyId} />}
          </Stack>
        </Step>
      </div>
    </Page>
  );
}

function Step({ no, at, title, said, onBack, children }: { no: number; at: number; title: string; said?: string; onBack?: () => void; children: ReactNode }) {
  const words = useWords();
  const is = no < at ? 'done' : no === at ? 'now' : 'later';
  return (
    <Paper withBorder className="step" data-is={is} component="section" aria-label={title}>
      <div className="step-head">
        <span className="step-no" aria-hidden>{is === 'done' ? <IconCheck size={14} stroke={3} /> : no}</span>
        <Text fw={600} c={is === 'later' ? 'dimmed' : undefined}>{title}</Text>
        {is === 'done' && <Text size="sm" c="dimmed" className="ell mono">{said}</Text>}
        {is === 'done' && onBack && <Button size="compact-xs" variant="subtle" color="gray" ml="auto" onClick={onBack} aria-label={`${words.change}: ${title}`}>{words.change}</Button>}
      </div>
      {is === 'now' && <div className="step-body">{children}</div>}
    </Paper>
  );
}

function ChooseProvider({ onChosen }: { onChosen: (name: string) => void }) {
  const words = useWords();
  const providers = useQuery(lists.providers);
  const kinds = useQuery(lists.kinds);
  const [kindId, setKindId] = useState('');
  const [key, setKey] = useState('');
  const [url, setUrl] = useState('');
  const kind = kinds.data?.find((k) => k.id === kindId);
  const add = useMutation({
    mutationFn: async () => {
      const taken = new Set(providers.data?.map((p) => p.name));
      let name = kindId;
      for (let n = 2; taken.has(name); n++) name = `${kindId}-${n}`;
      await take(api.POST('/sluice/v1/providers', { body: { name, type: kindId, ...(url && url !== kind?.base_url && { base_url: url }), ...(key && { api_key: key }) } }));
      return name;
    },
    onSuccess: onChosen,
  });
  return (
    <Stack>
      <Loaded query={providers}>
        {(all) => {
          const there = all.filter((p) => p.enabled);
          return there.length === 0 ? null : (
            <Stack gap={6}>
              <Text size="sm" c="dimmed">{words.foundProviders}</Text>
              <div className="kinds">
                {there.slice(0, 12).map((p) => (
                  <UnstyledButton key={p.name} className="kind" onClick={() => onChosen(p.name)}>
                    <Mark name={p.name} kind={p.type} size={28} />
                    <Stack gap={0} miw={0}><Text size="sm" fw={600} className="ell">{p.name}</Text><Text size="xs" c="dimmed" className="ell">{p.origin === 'environment' ? words.fromEnvironment : p.base_url || words.local}</Text></Stack>
                  </UnstyledButton>
                ))}
              </div>
            </Stack>
          );
        }}
      </Loaded>
      <Catalogue title={words.orAdd} picked={kindId} onPick={(k) => { setKindId(k.id); setUrl(k.base_url); add.reset(); }} />
      {kind && (
        <Guard isForm><form onSubmit={(e) => { e.preventDefault(); add.mutate(); }}>
          <Stack gap="sm" maw={520}>
            <TextInput label={words.baseUrl} value={url} onChange={(e) => setUrl(e.currentTarget.value)} placeholder="https://" classNames={{ input: 'mono' }} required={!kind.base_url} />
            <PasswordInput label={`${kind.title}: ${words.apiKey}`} value={key} onChange={(e) => setKey(e.currentTarget.value)} autoComplete="off" autoFocus required={!kind.is_local}
              description={kind.is_local ? words.noKeyNeeded : words.sealed} />
            {add.error && <Failure error={add.error} />}
            <Group><Button type="submit" loading={add.isPending}>{words.addAndTest}</Button></Group>
          </Stack>
        </form></Guard>
      )}
    </Stack>
  );
}

function TryProvider({ provider, onDone }: { provider: string; onDone: (model: string) => void }) {
  const words = useWords();
  const queries = useQueryClient();
  const found = useQuery(discovered(provider));
  const served = useQuery(lists.models);
  const known = served.data?.filter((m) => m.targets.some((t) => t.provider === provider)) ?? [];
  const [picked, setPicked] = useState('');
  const [typed, setTyped] = useState('');
  const choices = [...new Set([...known.map((m) => m.name), ...(found.data ?? []).map((id) => `${provider}/${id}`)])];
  const model = typed.trim() ? `${provider}/${typed.trim()}` : picked || (choices[0] ?? '');
  const test = useMutation({ mutationFn: (name: string) => ask({ model: name, maxTokens: 256, messages: [{ role: 'user', content: 'Say hello in one short sentence.' }] }) });
  const serve = useMutation({
    mutationFn: async (name: string) => {
      const id = name.startsWith(`${provider}/`) ? name.slice(provider.length + 1) : '';
      if (!id || queries.getQueryData(lists.models.queryKey)?.some((m) => m.name === id)) return name;
      await take(api.POST('/sluice/v1/models', { body: { name: id, targets: [{ provider, upstream_model: id }] } }));
      return id;
    },
    onSuccess: onDone,
  });
  if (found.isLoading || served.isLoading) return <Group gap="sm"><Loader size="sm" /><Text size="sm" c="dimmed">{words.askingForModels}</Text></Group>;
  return (
    <Stack gap="sm" maw={640}>
      {found.error && choices.length === 0 && <Failure error={found.error} retry={() => void found.refetch()} />}
      {choices.length > 0
        ? <Select label={`${words.model} (${choices.length})`} data={choices} value={typed ? null : model} onChange={(v) => { setPicked(v ?? ''); setTyped(''); test.reset(); }} searchable allowDeselect={false} limit={100} />
        : <TextInput label={words.upstreamModel} value={typed} onChange={(e) => { setTyped(e.currentTarget.value); test.reset(); }} />}
      <Group>
        <Guard role="member"><Button leftSection={<IconPlayerPlay size={15} />} loading={test.isPending} disabled={!model} variant={test.data ? 'default' : 'filled'} onClick={() => test.mutate(model)}>{words.testNow}</Button></Guard>
        {test.data && <Guard><Button loading={serve.isPending} onClick={() => serve.mutate(model)}>{words.goOn}</Button></Guard>}
        {!test.data && choices.length > 0 && <Guard><Anchor component="button" type="button" size="sm" c="dimmed" onClick={() => serve.mutate(model)}>{words.skipTest}</Anchor></Guard>}
      </Group>
      {test.data && <Answered answer={test.data} />}
      {test.error && <Failure error={test.error} />}
      {serve.error && <Failure error={serve.error} />}
    </Stack>
  );
}

function Answered({ answer }: { answer: Answer }) {
  const words = useWords();
  return (
    <Alert color="teal" variant="light" icon={<IconBolt />} title={`${words.answered} ${span(answer.totalUs)} · ${words.ttft} ${span(answer.firstUs)}`}>
      <Text size="sm" className="said" lineClamp={4}>{answer.text || answer.thinking}</Text>
    </Alert>
  );
}

function MakeKey({ onMade }: { onMade: (id: string, text: string) => void }) {
  const words = useWords();
  const [label, setLabel] = useState('laptop');
  const make = useMutation({
    mutationFn: () => take(api.POST('/sluice/v1/keys', { body: { label, scopes: ['inference', 'models'] } })),
    onSuccess: (k) => onMade(k.id, k.key ?? ''),
  });
  return (
    <Guard isForm><form onSubmit={(e) => { e.preventDefault(); make.mutate(); }}>
      <Stack gap="sm" maw={420}>
        <TextInput label={words.label} description={words.labelHint} value={label} onChange={(e) => setLabel(e.currentTarget.value)} required />
        {make.error && <Failure error={make.error} />}
        <Group><Button type="submit" loading={make.isPending}>{words.addKey}</Button></Group>
      </Stack>
    </form></Guard>
  );
}

/** Turns green when the first request with the key is in the log. */
function FirstRequest({ keyId }: { keyId: string }) {
  const words = useWords();
  const first = useQuery({
    queryKey: ['first request', keyId], refetchInterval: (q) => (q.state.data ? false : 1_000),
    queryFn: async () => (await take(api.GET('/sluice/v1/requests', { params: { query: { key: keyId, limit: 1 } } }))).data[0] ?? null,
  });
  const r = first.data;
  return (
    <Paper withBorder p="md" role="status" aria-live="polite">
      {!r ? (
        <Group gap="sm"><span className="dot" data-is="wait" /><Text size="sm" fw={600}>{words.waitingFirst}</Text></Group>
      ) : (
        <Stack gap="xs">
          <Group gap="sm"><IconCircleCheck size={20} color="var(--fine)" aria-hidden /><Text size="sm" fw={600} c="var(--fine)">{r.status < 400 ? words.firstArrived : words.firstFailed}</Text></Group>
          <Text size="sm" c="dimmed"><span className="mono">{r.model}</span> · {r.status}{r.error ? ` · ${r.error}` : ''} · {words.duration} {span(r.duration_us)}</Text>
          <Group gap="xs">
            <Button size="xs" component={Link} href={`/requests/${encodeURIComponent(r.id)}`}>{words.lookAtIt}</Button>
            <Button size="xs" variant="default" component={Link} href="/">{words.goHome}</Button>
          </Group>
        </Stack>
      )}
    </Paper>
  );
}
