// Small things that every page is made of.
import {
  ActionIcon, Alert, Box, Button, Code, CopyButton, Group, Modal, Popover, Skeleton, Stack, Text, Title, Tooltip,
} from '@mantine/core';
import { useInterval } from '@mantine/hooks';
import { IconAlertTriangle, IconCheck, IconCode, IconCopy, IconRefresh } from '@tabler/icons-react';
import type { UseQueryResult } from '@tanstack/react-query';
import { type ReactNode, useEffect, useState } from 'react';
import { ApiError, apiUrl } from '../api/client';
import { useSpeech, useWords } from '../i18n';
import { moment, relative } from './format';

export interface Call { method: string; path: string; body?: unknown }

/** A page: its title, what can be done on it, and behind "API" the requests that it makes. */
export function Page({ title, note, actions, calls, children }:
  { title: string; note?: ReactNode; actions?: ReactNode; calls?: Call[]; children: ReactNode }) {
  useEffect(() => { document.title = `${title} · sluice`; }, [title]);
  return (
    <Stack gap="md">
      <Group justify="space-between" align="flex-start" gap="sm">
        <Box>
          <Title order={1} size="h1">{title}</Title>
          {note !== undefined && <Text size="sm" c="dimmed">{note}</Text>}
        </Box>
        <Group gap="xs">{actions}{calls && <ApiButton calls={calls} />}</Group>
      </Group>
      {children}
    </Stack>
  );
}

export function curl(call: Call): string {
  const url = new URL(call.path.replace(/^\//, ''), apiUrl).href;
  const method = call.method === 'GET' ? '' : ` -X ${call.method}`;
  const body = call.body === undefined ? '' :
    ` \\\n  -H 'content-type: application/json' \\\n  -d '${JSON.stringify(call.body).replace(/'/g, "'\\''")}'`;
  return `curl${method} '${url}' \\\n  -H "authorization: Bearer $SLUICE_ADMIN_KEY"${body}`;
}

function ApiButton({ calls }: { calls: Call[] }) {
  const words = useWords();
  return (
    <Popover position="bottom-end" width={460} withArrow shadow="md" trapFocus>
      <Popover.Target>
        <Tooltip label={words.apiHint}>
          <Button variant="default" size="xs" leftSection={<IconCode size={14} />}>{words.api}</Button>
        </Tooltip>
      </Popover.Target>
      <Popover.Dropdown maw="94vw">
        <Stack gap="xs">{calls.map((c) => <Snippet key={c.method + c.path} text={curl(c)} />)}</Stack>
      </Popover.Dropdown>
    </Popover>
  );
}

/** Text to take away, with its button. */
export function Snippet({ text }: { text: string }) {
  return (
    <Box pos="relative">
      <Code block fz="xs" pr={44} style={{ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }}>{text}</Code>
      <Box pos="absolute" top={6} right={6}><Copy text={text} /></Box>
    </Box>
  );
}

export function Copy({ text }: { text: string }) {
  const words = useWords();
  return (
    <CopyButton value={text}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? words.copied : words.copy}>
          <ActionIcon variant="subtle" color={copied ? 'teal' : 'gray'} onClick={copy} aria-label={copied ? words.copied : words.copy}>
            {copied ? <IconCheck size={16} /> : <IconCopy size={16} />}
          </ActionIcon>
        </Tooltip>
      )}
    </CopyButton>
  );
}

export function Failure({ error, retry }: { error: Error; retry?: () => void }) {
  const words = useWords();
  const id = error instanceof ApiError ? error.requestId : '';
  return (
    <Alert color="red" icon={<IconAlertTriangle />} title={words.failed} role="alert">
      <Stack gap="xs" align="flex-start">
        <Text size="sm">{error.message}</Text>
        {id && <Text size="xs" c="dimmed">{words.requestId}: <Code>{id}</Code></Text>}
        {retry && <Button size="xs" color="red" variant="light" leftSection={<IconRefresh size={14} />} onClick={retry}>{words.retry}</Button>}
      </Stack>
    </Alert>
  );
}

/** What a query is at: still coming, failed, or there. */
export function Loaded<T>({ query, children }: { query: UseQueryResult<T, Error>; children: (data: T) => ReactNode }) {
  const words = useWords();
  if (query.data !== undefined) return <>{children(query.data)}</>;
  if (query.error) return <Failure error={query.error} retry={() => void query.refetch()} />;
  return (
    <Stack gap="xs" role="status" aria-label={words.loading}>
      {[0, 1, 2, 3].map((i) => <Skeleton key={i} height={38} radius="sm" />)}
    </Stack>
  );
}

export function Empty({ icon, title, hint, action }: { icon: ReactNode; title: string; hint: string; action?: ReactNode }) {
  return (
    <Stack align="center" gap="xs" py={56} px="md">
      <Box c="dimmed">{icon}</Box>
      <Text fw={600}>{title}</Text>
      <Text size="sm" c="dimmed" ta="center" maw={420}>{hint}</Text>
      {action}
    </Stack>
  );
}

/** "3 minutes ago", with the exact time behind it. */
export function When({ iso }: { iso: string }) {
  const { language } = useSpeech();
  const [now, setNow] = useState(Date.now);
  useInterval(() => setNow(Date.now()), 5000, { autoInvoke: true });
  return (
    <Tooltip label={moment(iso, language)}>
      <Text component="time" dateTime={iso} size="sm" span>{relative(iso, now, language)}</Text>
    </Tooltip>
  );
}

export function StatusBadge({ status }: { status: number }) {
  return <span className="status" data-is={status >= 500 ? 'bad' : status >= 400 ? 'warn' : 'fine'}>{status}</span>;
}

export function Origin({ from }: { from: string }) {
  return from === 'api' ? null : <span className="tag">{from}</span>;
}

/** Is this meant? What is not said otherwise is a deletion. */
export function Confirm({ title, opened, busy, error, onClose, onDo, children, word }:
  { title: string; opened: boolean; busy: boolean; error: Error | null; onClose: () => void; onDo: () => void; children: ReactNode; word?: string }) {
  const words = useWords();
  return (
    <Modal opened={opened} onClose={onClose} title={title} centered>
      <Stack>
        {children}
        {error && <Failure error={error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>{words.cancel}</Button>
          <Button color="red" loading={busy} onClick={onDo}>{word ?? words.delete}</Button>
        </Group>
      </Stack>
    </Modal>
  );
}

