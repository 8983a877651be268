// What opens above a page or is taken away from it: is this meant, the requests behind a page, text to copy.
import { ActionIcon, Box, Button, Code, CopyButton, Group, Modal, Popover, Stack, Text, Tooltip } from '@mantine/core';
import { useInterval } from '@mantine/hooks';
import { IconCheck, IconCopy } from '@tabler/icons-react';
import { Fragment, type ReactNode, useReducer } from 'react';
import { type Call, callsWith } from '../api/calls';
import { apiUrl } from '../api/client';
import { useWords } from '../i18n';
import { Tag } from './edited';
import { useEscape } from './focus';
import { ApiButton, Failure } from './pieces';

export function curl(call: Call): string {
  const url = new URL(call.path.replace(/^\//, ''), apiUrl).href;
  const method = call.method === 'GET' ? '' : ` -X ${call.method}`;
  const body = call.body === undefined ? '' :
    ` \\\n  -H 'content-type: application/json' \\\n  -d '${JSON.stringify(call.body).replace(/'/g, "'\\''")}'`;
  return `curl${method} '${url}' \\\n  -H "authorization: Bearer $SLUICE_ADMIN_KEY"${body}`;
}

/** The requests behind a page, beside the button that was pressed for them: what it asked for, then what it changes. */
export default function ApiCalls({ calls, onClose }: { calls: Call[]; onClose: () => void }) {
  const words = useWords();
  const [, look] = useReducer((n: number) => n + 1, 0); // what is asked meanwhile
  useInterval(look, 1_000, { autoInvoke: true });
  useEscape(onClose);
  const all = callsWith(calls);
  const isRead = (c: Call) => c.method === 'GET' || /\/(explain|check)$/.test(c.path);
  const groups = [{ title: words.apiReads, calls: all.filter(isRead) }, { title: words.apiChanges, calls: all.filter((c) => !isRead(c)) }].filter((g) => g.calls.length > 0);
  return (
    <Popover opened onChange={(opened) => { if (!opened) onClose(); }} position="bottom-end" width={520} withArrow shadow="md" trapFocus returnFocus closeOnEscape={false}>
      <Popover.Target><ApiButton isOpen onClick={onClose} /></Popover.Target>
      <Popover.Dropdown maw="94vw" mah="70vh" style={{ overflowY: 'auto' }} tabIndex={0} aria-label={words.apiHint}>
        <Stack gap="xs">{groups.map((g) => <Fragment key={g.title}><Text size="xs" fw={600}>{g.title}</Text>{g.calls.map((c) => <Snippet key={c.method + c.path} text={curl(c)} />)}</Fragment>)}</Stack>
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

/** Is this meant? What is not said otherwise is a deletion. With the object's path, only if it still is what it is now. */
export function Confirm({ title, opened, busy, error, onClose, onDo, onOverwrite = onDo, children, word, path }:
  { title: string; opened: boolean; busy: boolean; error: Error | null; onClose: () => void; onDo: () => void; onOverwrite?: () => void; children: ReactNode; word?: string; path?: string | undefined }) {
  const words = useWords();
  return (
    <Modal opened={opened} onClose={onClose} title={title} centered>
      <Stack>
        {path !== undefined && <Tag path={path} />}
        {children}
        {error && <Failure error={error} overwrite={onOverwrite} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>{words.cancel}</Button>
          <Button color="red" loading={busy} onClick={onDo}>{word ?? words.delete}</Button>
        </Group>
      </Stack>
    </Modal>
  );
}

