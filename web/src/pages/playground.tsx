// A conversation with one to four models at once, in any client format.
import { ActionIcon, Alert, Button, Code, Collapse, FileButton, Group, JsonInput, NumberInput, Paper, Select, SimpleGrid, Stack, Tabs, Text, Textarea, Tooltip } from '@mantine/core';
import { IconAdjustments, IconBulb, IconCode, IconPaperclip, IconPlayerStop, IconPlus, IconSend, IconTool, IconTrash, IconX } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useRef, useState } from 'react';
import { Link, useSearchParams } from 'wouter';
import { type Answer, ask, deaf, type Effort, efforts, type Format, formats, type Media, type Message, type Question, requestOf, type Tool } from '../api/chat';
import { apiUrl } from '../api/client';
import { lists } from '../api/lists';
import { one } from '../api/requests';
import { useSpeech, useWords } from '../i18n';
import { copies } from '../parts/copies';
import { Dialog } from '../parts/dialog';
import { Snippet } from '../parts/dialogs';
import { count, money, short, span, speedOf } from '../parts/format';
import { Guard, useMay } from '../parts/guard';
import { Loaded, Page } from '../parts/pieces';
import { TargetSelect, useLikelyModel } from '../parts/target';

interface Turn { question: string; media: Media[]; answer: Answer | null; error: string }
interface Lane { id: number; model: string; turns: Turn[] }
interface Knobs { system: string; maxTokens: number | string; temperature: number | string; topP: number | string; effort: Effort | null; tools: string }

export default function Playground() {
  const words = useWords();
  const models = useQuery(lists.models);
  return (
    <Page title={words.playground} note={words.playgroundHint} calls={[{ method: 'POST', path: '/v1/chat/completions', body: { model: 'echo', messages: [{ role: 'user', content: 'Hello' }] } }]}>
      <Loaded query={models}>{(all) => <Bench names={all.filter((m) => m.enabled).map((m) => m.name)} />}</Loaded>
    </Page>
  );
}

const number = (v: number | string) => (typeof v === 'number' ? v : undefined);

function toolsOf(text: string): Tool[] {
  if (!text.trim()) return [];
  const value: unknown = JSON.parse(text);
  return (Array.isArray(value) ? value : [value]).map((t: Record<string, any>) => t.function ?? { name: t.name, description: t.description, parameters: t.parameters ?? t.input_schema });
}

async function mediaOf(file: File): Promise<Media> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = '';
  for (let i = 0; i < bytes.length; i += 32_768) text += String.fromCharCode(...bytes.subarray(i, i + 32_768));
  return { kind: file.type.startsWith('audio/') ? 'audio' : 'image', type: file.type, data: btoa(text), name: file.name };
}

function Bench({ names }: { names: string[] }) {
  const words = useWords();
  const [search] = useSearchParams();
  const likely = useLikelyModel();
  const [chosen, setLanes] = useState<Lane[]>([{ id: 1, model: search.get('model') ?? '', turns: [] }]);
  const lanes = chosen.map((l) => (l.model ? l : { ...l, model: likely })); // until another is chosen
  const [format, setFormat] = useState<Format>('OpenAI Chat');
  const [knobs, setKnobs] = useState<Knobs>({ system: '', maxTokens: '', temperature: '', topP: '', effort: null, tools: '' });
  const [hasKnobs, setHasKnobs] = useState(false);
  const [media, setMedia] = useState<Media[]>([]);
  const [text, setText] = useState('');
  const [running, setRunning] = useState(0);
  const [copied, setCopied] = useState<Question | null>(null);
  const [fault, setFault] = useState('');
  const stop = useRef<AbortController | null>(null);
  const may = useMay('member');

  const change = (id: number, how: (lane: Lane) => Lane) => setLanes((old) => old.map((l) => (l.id === id ? how(l) : l)));
  const last = (id: number, how: (turn: Turn) => Turn) => change(id, (l) => ({ ...l, turns: l.turns.map((t, i) => (i === l.turns.length - 1 ? how(t) : t)) }));

  function asked(lane: Lane, question: string, added: Media[]): Question {
    const messages: Message[] = [...lane.turns.flatMap((t): Message[] => [{ role: 'user', content: t.question, media: t.media }, ...(t.answer ? [{ role: 'assistant' as const, content: t.answer.text }] : [])]),
      { role: 'user', content: question, media: added }];
    const q: Question = { model: lane.model, messages, format, tools: toolsOf(knobs.tools) };
    if (knobs.system) q.system = knobs.system;
    if (number(knobs.maxTokens) !== undefined) q.maxTokens = Number(knobs.maxTokens);
    if (number(knobs.temperature) !== undefined) q.temperature = Number(knobs.temperature);
    if (number(knobs.topP) !== undefined) q.topP = Number(knobs.topP);
    if (knobs.effort) q.effort = knobs.effort;
    return q;
  }
  async function run(lane: Lane, q: Question, question: string, added: Media[], signal: AbortSignal) {
    change(lane.id, (l) => ({ ...l, turns: [...l.turns, { question, media: added, answer: null, error: '' }] }));
    try {
      const answer = await ask({ ...q, signal, onText: (a) => last(lane.id, (t) => ({ ...t, answer: a })) });
      last(lane.id, (t) => ({ ...t, answer }));
    } catch (e) {
      if (!signal.aborted) last(lane.id, (t) => ({ ...t, error: (e as Error).message }));
    }
  }
  async function send() {
    const question = text.trim();
    if (!may || (!question && media.length === 0) || running) return;
    setFault('');
    if (deaf.includes(format) && (media.some((m) => m.kind === 'audio') || lanes.some((l) => l.turns.some((t) => t.media.some((m) => m.kind === 'audio'))))) {
      setFault(`${format}: ${words.takesNoSound}`);
      return;
    }
    let questions: Question[];
    try {
      questions = lanes.map((l) => asked(l, question, media));
    } catch (e) {
      setFault(`${words.tools}: ${(e as Error).message}`);
      return;
    }
    const control = new AbortController();
    stop.current = control;
    const added = media;
    setText('');
    setMedia([]);
    setRunning(lanes.length);
    await Promise.all(lanes.map((l, i) => { const q = questions[i]; return q ? run(l, q, question, added, control.signal).finally(() => setRunning((n) => n - 1)) : undefined; }));
  }
  async function attach(files: File[]) {
    const fresh = await Promise.all(files.filter((f) => /^(image|audio)\//.test(f.type)).map(mediaOf));
    setMedia((old) => [...old, ...fresh]);
  }
  return (
    <Stack gap="md">
      <Group gap="xs" align="flex-end">
        <Select size="xs" label={words.clientFormat} data={Object.keys(formats)} value={format} onChange={(f) => f && setFormat(f as Format)} allowDeselect={false} w={{ base: '100%', xs: 170 }} />
        <Button size="xs" variant={hasKnobs ? 'light' : 'default'} leftSection={<IconAdjustments size={15} />} onClick={() => setHasKnobs(!hasKnobs)} aria-expanded={hasKnobs}>{words.parameters}</Button>
        <Button size="xs" variant="default" leftSection={<IconPlus size={15} />} disabled={lanes.length >= 4}
          onClick={() => setLanes([...lanes, { id: Math.max(...lanes.map((l) => l.id)) + 1, model: names.find((n) => !lanes.some((l) => l.model === n)) ?? likely, turns: [] }])}>{words.compare}</Button>
        <Button size="xs" variant="default" leftSection={<IconTrash size={15} />} onClick={() => setLanes(lanes.map((l) => ({ ...l, turns: [] })))}>{words.clear}</Button>
      </Group>
      <Collapse expanded={hasKnobs}>
        <Paper withBorder p="md">
          <SimpleGrid cols={{ base: 1, md: 2 }}>
            <Stack gap="xs">
              <Textarea size="xs" label={words.systemPrompt} value={knobs.system} onChange={(e) => setKnobs({ ...knobs, system: e.currentTarget.value })} autosize minRows={3} maxRows={10} />
              <Group grow gap="xs">
                <NumberInput size="xs" label={words.maxOutput} value={knobs.maxTokens} onChange={(v) => setKnobs({ ...knobs, maxTokens: v })} min={1} placeholder="2048" hideControls />
                <NumberInput size="xs" label={words.temperature} value={knobs.temperature} onChange={(v) => setKnobs({ ...knobs, temperature: v })} min={0} max={2} step={0.1} decimalScale={2} />
                <NumberInput size="xs" label={words.topP} value={knobs.topP} onChange={(v) => setKnobs({ ...knobs, topP: v })} min={0} max={1} step={0.05} decimalScale={2} />
              </Group>
              <Select size="xs" label={words.effort} value={knobs.effort} onChange={(e) => setKnobs({ ...knobs, effort: e as Effort | null })} data={efforts.map((e) => ({ value: e, label: words[`effort_${e}`] }))} clearable placeholder={words.asItLikes} />
            </Stack>
            <JsonInput size="xs" label={words.tools} description={words.toolsHint} value={knobs.tools} onChange={(v) => setKnobs({ ...knobs, tools: v })} validationError={words.noJson} formatOnBlur autosize minRows={5} maxRows={14}
              placeholder={'[{ "name": "get_weather", "description": "…", "parameters": { "type": "object", "properties": { "city": { "type": "string" } } } }]'} classNames={{ input: 'mono' }} />
          </SimpleGrid>
        </Paper>
      </Collapse>
      <SimpleGrid cols={{ base: 1, sm: Math.min(2, lanes.length), lg: lanes.length }}>
        {lanes.map((l) => (
          <Paper key={l.id} withBorder p="sm" component="section" aria-label={`${words.model} ${l.id}`}>
            <Stack gap="sm">
              <Group gap={6} wrap="nowrap">
                <TargetSelect size="xs" aria-label={`${words.model} ${l.id}`} placeholder={words.pickModel} value={l.model} onChange={(m) => m && change(l.id, (old) => ({ ...old, model: m }))} allowDeselect={false} flex={1} />
                <Tooltip label={words.copyAs}><ActionIcon variant="subtle" color="gray" onClick={() => { try { setCopied(asked(l.turns.length ? { ...l, turns: l.turns.slice(0, -1) } : l, l.turns.at(-1)?.question ?? (text || 'Hello'), l.turns.at(-1)?.media ?? media)); } catch (e) { setFault((e as Error).message); } }} aria-label={`${words.copyAs} ${l.model}`}><IconCode size={16} /></ActionIcon></Tooltip>
                {lanes.length > 1 && <ActionIcon variant="subtle" color="gray" onClick={() => setLanes(lanes.filter((x) => x.id !== l.id))} aria-label={`${words.close} ${l.model}`}><IconX size={16} /></ActionIcon>}
              </Group>
              <Stack gap="sm" mih={160} aria-live="polite">{l.turns.length === 0 ? <Text size="sm" c="dimmed" ta="center" pt={52}>{words.askIt}</Text> : l.turns.map((t, i) => <TurnView key={i} t={t} isRunning={running > 0 && i === l.turns.length - 1} />)}</Stack>
            </Stack>
          </Paper>
        ))}
      </SimpleGrid>
      {fault && <Alert color="red" variant="light" withCloseButton onClose={() => setFault('')}>{fault}</Alert>}
      <Paper withBorder p="xs" onDrop={(e) => { e.preventDefault(); void attach([...e.dataTransfer.files]); }} onDragOver={(e) => e.preventDefault()}>
        <Stack gap={6}>
          {media.length > 0 && <Group gap={6}>{media.map((m, i) => <MediaTag key={i} m={m} onRemove={() => setMedia(media.filter((_, k) => k !== i))} />)}</Group>}
          <Group align="flex-end" gap="xs" wrap="nowrap">
            <FileButton accept="image/*,audio/*" multiple onChange={(files) => void attach(files)}>
              {(props) => <Tooltip label={words.attach}><ActionIcon {...props} variant="subtle" color="gray" size={34} aria-label={words.attach}><IconPaperclip size={18} /></ActionIcon></Tooltip>}
            </FileButton>
            <Textarea variant="unstyled" aria-label={words.prompt} placeholder={words.prompt} value={text} onChange={(e) => setText(e.currentTarget.value)} autosize minRows={1} maxRows={10} flex={1}
              onPaste={(e) => { if (e.clipboardData.files.length) void attach([...e.clipboardData.files]); }}
              onKeyDown={(e) => { if (e.key === 'Enter' && !e.shiftKey && !e.nativeEvent.isComposing) { e.preventDefault(); void send(); } }} />
            {running > 0
              ? <Button size="sm" color="red" variant="light" leftSection={<IconPlayerStop size={16} />} onClick={() => stop.current?.abort()}>{words.stop}</Button>
              : <Guard role="member"><Button size="sm" leftSection={<IconSend size={16} />} onClick={() => void send()} disabled={(!text.trim() && media.length === 0) || lanes.some((l) => !l.model)}>{words.send}</Button></Guard>}
          </Group>
        </Stack>
      </Paper>
      {copied && <CopyAs q={copied} onClose={() => setCopied(null)} />}
    </Stack>
  );
}

function MediaTag({ m, onRemove }: { m: Media; onRemove?: () => void }) {
  const words = useWords();
  return (
    <Group gap={4} className="tag" wrap="nowrap" style={{ lineHeight: '24px' }}>
      {m.kind === 'image' ? <img src={`data:${m.type};base64,${m.data}`} alt="" height={20} style={{ borderRadius: 3 }} /> : '♪'}<span className="ell" style={{ maxWidth: 160 }}>{m.name}</span>
      {onRemove && <ActionIcon size={18} variant="subtle" color="gray" onClick={onRemove} aria-label={`${words.delete} ${m.name}`}><IconX size={12} /></ActionIcon>}
    </Group>
  );
}

function TurnView({ t, isRunning }: { t: Turn; isRunning: boolean }) {
  const words = useWords();
  const { language } = useSpeech();
  const a = t.answer;
  const isOver = !isRunning && a !== null;
  const record = useQuery({ ...one(a?.requestId ?? ''), enabled: isOver && Boolean(a?.requestId), retry: 3, retryDelay: 400 });
  const cost = record.data?.cost_nanousd;
  const speed = a ? speedOf(a.output, a.totalUs, a.firstUs) : null;
  return (
    <Stack gap={6}>
      <Paper p="xs" bg="var(--mantine-primary-color-light)"><Text size="sm" className="said">{t.question}</Text>{t.media.length > 0 && <Group gap={4} mt={4}>{t.media.map((m, i) => <MediaTag key={i} m={m} />)}</Group>}</Paper>
      {a?.thinking && (
        <Paper p="xs" withBorder><Group gap={6} mb={2}><IconBulb size={14} aria-hidden /><Text size="xs" fw={600}>{words.thinking}</Text></Group><Text size="xs" c="dimmed" className="said" mah={220} style={{ overflow: 'auto' }} tabIndex={0}>{a.thinking}</Text></Paper>
      )}
      {a && <Text size="sm" className="said">{a.text}</Text>}
      {a?.calls.map((c, i) => <Paper key={i} p="xs" withBorder><Group gap={6} mb={4}><IconTool size={14} aria-hidden /><Text size="xs" fw={600} className="mono">{c.name}</Text></Group><Code block fz="xs">{c.args}</Code></Paper>)}
      {t.error && <Text size="sm" c="var(--mantine-color-error)" role="alert" className="said">{t.error}</Text>}
      {a && a.totalUs > 0 && (
        <Group gap="4px 0">
          <span className="tag">{words.ttft} {span(a.firstUs)}</span>
          <span className="tag">{words.duration} {span(a.totalUs)}</span>
          <span className="tag">{words.tokens} {count(a.input, language)} → {count(a.output, language)}</span>
          {speed !== null && isOver && <span className="tag">{speed < 10 ? speed.toFixed(1) : short(Math.round(speed), language)} {words.perSecondShort}</span>}
          {cost !== undefined && <span className="tag">{words.cost} {cost === null ? words.unknownPrice : money(cost)}</span>}
          {isOver && a.requestId && <Link href={`/requests/${encodeURIComponent(a.requestId)}`} className="quiet">{words.lookAtIt}</Link>}
        </Group>
      )}
    </Stack>
  );
}

/** The same request for elsewhere; the key is left to be filled in. */
function CopyAs({ q, onClose }: { q: Question; onClose: () => void }) {
  const words = useWords();
  const { path, body } = requestOf(q);
  const origin = apiUrl.href.replace(/\/$/, '');
  const texts = copies(q, origin, path, body);
  return (
    <Dialog onClose={onClose} title={words.copyAs} size="xl">
      <Tabs defaultValue="curl">
        <Tabs.List mb="sm" className="tabs-row">{texts.map(([n]) => <Tabs.Tab key={n} value={n}>{n}</Tabs.Tab>)}</Tabs.List>
        {texts.map(([n, t]) => <Tabs.Panel key={n} value={n}><Snippet text={t} /></Tabs.Panel>)}
      </Tabs>
    </Dialog>
  );
}
