// What is being served at this moment, with the way to stop it.
import { ActionIcon, Badge, Group, Paper, Table, Text, Tooltip } from '@mantine/core';
import { IconPlayerStop } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { api, take } from '../api/client';
import { lists } from '../api/lists';
import { useSpeech, useWords } from '../i18n';
import { count, money, span } from './format';

const shown = 50;

export function InFlight({ hidesEmpty = false }: { hidesEmpty?: boolean }) {
  const words = useWords();
  const { language } = useSpeech();
  const active = useQuery(lists.active);
  const stop = useMutation({ mutationFn: (id: string) => take(api.DELETE('/sluice/v1/requests/active/{id}', { params: { path: { id } } })) });
  const rows = active.data ?? [];
  if (hidesEmpty && rows.length === 0) return null;
  return (
    <Paper withBorder component="section" aria-label={words.inFlight}>
      <Group px="md" py="sm" justify="space-between">
        <Group gap={8}><span className="dot" data-is={rows.length ? 'wait' : undefined} /><Text size="sm" fw={600}>{words.inFlight}{rows.length > 0 && ` · ${rows.length}`}</Text></Group>
        {rows.length === 0 && <Text size="sm" c="dimmed">{words.nothingInFlight}</Text>}
      </Group>
      {rows.length > 0 && (
        <Table.ScrollContainer minWidth={640}>
          <Table verticalSpacing={5} fz="sm">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{words.model}</Table.Th><Table.Th>{words.provider}</Table.Th><Table.Th>{words.key}</Table.Th><Table.Th>{words.state}</Table.Th>
                <Table.Th ta="right">{words.elapsed}</Table.Th><Table.Th ta="right">{words.output}</Table.Th><Table.Th ta="right">{words.costSoFar}</Table.Th><Table.Th aria-label={words.actions} />
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {rows.slice(0, shown).map((r) => (
                <Table.Tr key={r.id}>
                  <Table.Td><span className="mono">{r.model || '…'}</span></Table.Td>
                  <Table.Td>{r.upstream ?? '–'}</Table.Td>
                  <Table.Td c="dimmed">{r.key_label || r.key_id || '–'}</Table.Td>
                  <Table.Td><Badge variant="light" size="sm">{r.state}</Badge></Table.Td>
                  <Table.Td ta="right" className="num">{span(r.elapsed_ms * 1000)}</Table.Td>
                  <Table.Td ta="right" className="num">{r.tokens_estimated ? '≈ ' : ''}{count(r.tokens_out, language)}</Table.Td>
                  <Table.Td ta="right" className="num">{r.cost_nanousd === null ? '–' : `≈ ${money(r.cost_nanousd)}`}</Table.Td>
                  <Table.Td ta="right">
                    <Tooltip label={words.stopRequest}>
                      <ActionIcon variant="subtle" color="red" onClick={() => stop.mutate(r.id)} aria-label={`${words.stopRequest} ${r.id}`}><IconPlayerStop size={16} /></ActionIcon>
                    </Tooltip>
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
    </Paper>
  );
}
