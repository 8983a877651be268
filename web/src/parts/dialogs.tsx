// What opens above a page or is taken away from it: is this meant, the requests behind a page, text to copy.
import { ActionIcon, Box, Button, Code, CopyButton, Group, Modal, Popover, Stack, Tooltip } from '@mantine/core';
import { IconCheck, IconCopy } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { apiUrl } from '../api/client';
import { useWords } from '../i18n';
import { Tag } from './edited';
import { ApiButton, type Call, Failure } from './pieces';

export function curl(call: Call): string {
  const url = new URL(call.path.replace(/^\//, ''), apiUrl).href;
  const method = call.method === 'GET' ? '' : ` -X ${call.method}`;
  const body = call.body === undefined ? '' :
    ` \\\n  -H 'content-type: application/json' \\\n  -d '${JSON.stringify(call.body).replace(/'/g, "'\\''")}'`;
  return `curl${method} '${url}' \\\n  -H "authorization: Bearer $SLUICE_ADMIN_KEY"${body}`;
}

/** The requests behind a page, beside the button that was pressed for them. */
export default function ApiCalls({ calls, onClose }: { calls: Call[]; onClose: () => void }) {
  return (
    <Popover opened onChange={(opened) => { if (!opened) onClose(); }} position="bottom-end" width={460} withArrow shadow="md" trapFocus returnFocus>
      <Popover.Target><ApiButton isOpen onClick={onClose} /></Popover.Target>
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

/** Is this meant? What is not said otherwise is a deletion. With the object's path, only if it still is what it is now. */
export function Confirm({ title, opened, busy, error, onClose, onDo, children, word, path }:
  { title: string; opened: boolean; busy: boolean; error: Error | null; onClose: () => void; onDo: () => void; children: ReactNode; word?: string; path?: string | undefined }) {
  const words = useWords();
  return (
    <Modal opened={opened} onClose={onClose} title={title} centered>
      <Stack>
        {path !== undefined && <Tag path={path} />}
        {children}
        {error && <Failure error={error} overwrite={onDo} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>{words.cancel}</Button>
          <Button color="red" loading={busy} onClick={onDo}>{word ?? words.delete}</Button>
        </Group>
      </Stack>
    </Modal>
  );
}

