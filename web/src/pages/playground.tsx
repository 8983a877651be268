// A conversation with one to four models at once, in any client format.
import { ActionIcon, Badge, Button, Group, Paper, Select, SimpleGrid, Stack, Text, Textarea, TextInput } from '@mantine/core';
import { IconPlayerStop, IconPlus, IconSend, IconTrash, IconX } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useRef, useState } from 'react';
import { type Answer, ask, type Format, formats, type Message } from '../api/chat';
import { lists } from '../api/lists';
import { useSpeech, useWords } from '../i18n';
import { count, span } from '../parts/format';
import { Loaded, Page } from '../parts/pieces';

interface Turn { question: string; answer: Answer | null; error: string }
interface Lane { id: number; model: string; turns: Turn[] }

export default function Playground() {
  const words = useWords();
  const models = useQuery(lists.models);
  return (
    <Page title={words.playground} calls={[{ method: 'POST', path: '/v1/chat/completions', body: { model: 'echo', messages: [{ role: 'user', content: 'Hello' }] } }]}>
      <Loaded query={models}>{(all) => <Table names={all.filter((m) => m.enabled).map((m) => m.name)} />}</Loaded>
    </Page>
  );
}

function Table({ names }: { names: string[] }) {
  const words = useWords();
  const [lanes, setLanes] = useState<Lane[]>([{ id: 1, model: names[0] ?? '', turns: [] }]);
  const [format, setFormat] = useState<Format>('OpenAI Chat');
  const [system, setSystem] = useState('');
  const [text, setText] = useState('');
  const [running, setRunning] = useState(0);
  const stop = useRef<AbortController | null>(null);

  const change = (id: number, how: (lane: Lane) => Lane) => setLanes((old) => old.map((l) => (l.id === id ? how(l) : l)));
  const last = (id: number, how: (turn: Turn) => Turn) => change(id, (l) => ({ ...l, turns: l.turns.map((t, i) => (i === l.turns.length - 1 ? how(t) : t)) }));

  async function run(lane: Lane, question: string, signal: AbortSignal) {
    const messages: Message[] = [...lane.turns.flatMap((t): Message[] => [{ role: 'user', content: t.question }, ...(t.answer ? [{ role: 'assistant' as const, content: t.answer.text }] : [])]),
      { role: 'user', content: question }];
    change(lane.id, (l) => ({ ...l, turns: [...l.turns, { question, answer: null, error: '' }] }));
    try {
      const answer = await ask({ model: lane.model, messages, system, format, signal, onText: (a) => last(lane.id, (t) => ({ ...t, answer: a })) });
      last(lane.id, (t) => ({ ...t, answer }));
    } catch (e) {
      if (!signal.aborted) last(lane.id, (t) => ({ ...t, error: (e as Error).message }));
    }
  }
  async function send() {
    const question = text.trim();
    if (!question || running) return;
    const control = new AbortController();
    stop.current = control;
    setText('');
    setRunning(lanes.length);
    await Promise.all(lanes.map((l) => run(l, question, control.signal).finally(() => setRunning((n) => n - 1))));
  }
  return (
    <Stack>
      <Group gap="xs" align="flex-end">
        <Select label={words.clientFormat} data={Object.keys(formats)} value={format} onChange={(f) => f && setFormat(f as Format)} allowDeselect={false} w={{ base: '100%', xs: 190 }} />
        <TextInput label={words.systemPrompt} value={system} onChange={(e) => setSystem(e.currentTarget.value)} flex="1 1 240px" />
        <Button variant="default" leftSection={<IconPlus size={16} />} disabled={lanes.length >= 4}
          onClick={() => setLanes([...lanes, { id: Math.max(...lanes.map((l) => l.id)) + 1, model: names[lanes.length % Math.max(1, names.length)] ?? '', turns: [] }])}>{words.compare}</Button>
        <Button variant="default" leftSection={<IconTrash size={16} />} onClick={() => setLanes(lanes.map((l) => ({ ...l, turns: [] })))}>{words.clear}</Button>
      </Group>
      <SimpleGrid cols={{ base: 1, sm: Math.min(2, lanes.length), lg: lanes.length }}>
        {lanes.map((l) => (
          <Paper key={l.id} withBorder p="sm">
            <Stack gap="sm">
              <Group gap={6} wrap="nowrap">
                <Select aria-label={`${words.model} ${l.id}`} placeholder={words.pickModel} data={names} value={l.model || null} onChange={(m) => m && change(l.id, (old) => ({ ...old, model: m }))} allowDeselect={false} searchable flex={1} />
                {lanes.length > 1 && <ActionIcon variant="subtle" color="gray" onClick={() => setLanes(lanes.filter((x) => x.id !== l.id))} aria-label={`${words.close} ${l.model}`}><IconX size={16} /></ActionIcon>}
              </Group>
              <Stack gap="sm" mih={120} aria-live="polite">{l.turns.map((t, i) => <TurnView key={i} t={t} />)}</Stack>
            </Stack>
          </Paper>
        ))}
      </SimpleGrid>
      <Group align="flex-end" gap="xs" wrap="nowrap">
        <Textarea aria-label={words.prompt} placeholder={words.prompt} value={text} onChange={(e) => setText(e.currentTarget.value)} autosize minRows={2} maxRows={10} flex={1}
          onKeyDown={(e) => { if (e.key === 'Enter' && !e.shiftKey && !e.nativeEvent.isComposing) { e.preventDefault(); void send(); } }} />
        {running > 0
          ? <Button color="red" variant="light" leftSection={<IconPlayerStop size={16} />} onClick={() => stop.current?.abort()}>{words.stop}</Button>
          : <Button leftSection={<IconSend size={16} />} onClick={() => void send()} disabled={!text.trim() || lanes.some((l) => !l.model)}>{words.send}</Button>}
      </Group>
    </Stack>
  );
}

function TurnView({ t }: { t: Turn }) {
  const words = useWords();
  const { language } = useSpeech();
  return (
    <Stack gap={6}>
      <Paper p="xs" bg="var(--mantine-primary-color-light)"><Text size="sm" style={{ whiteSpace: 'pre-wrap' }}>{t.question}</Text></Paper>
      {t.answer?.thinking && <Text size="xs" c="dimmed" fs="italic" style={{ whiteSpace: 'pre-wrap' }}>{words.thinking}: {t.answer.thinking}</Text>}
      {t.answer && <Text size="sm" style={{ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }}>{t.answer.text}</Text>}
      {t.error && <Text size="sm" c="var(--mantine-color-error)" role="alert">{t.error}</Text>}
      {t.answer && t.answer.totalUs > 0 && (
        <Group gap={4}>
          <Badge size="xs" variant="default" tt="none">{words.ttft} {span(t.answer.firstUs)}</Badge>
          <Badge size="xs" variant="default" tt="none">{words.duration} {span(t.answer.totalUs)}</Badge>
          <Badge size="xs" variant="default" tt="none">{words.tokens} {count(t.answer.input, language)} → {count(t.answer.output, language)}</Badge>
        </Group>
      )}
    </Stack>
  );
}
