// What a request cost, line by line, where its record carries that.
import { Stack, Table, Text } from '@mantine/core';
import type { RequestDetail } from '../api/requests';
import { useSpeech, useWords } from '../i18n';
import { count, money } from './format';

interface CostLine { what?: string; quantity?: number; unit_nanousd?: number; cost_nanousd?: number }
interface Priced { cost_nanousd?: number | null; cost_lines?: CostLine[] }

export function Price({ r }: { r: RequestDetail }) {
  const words = useWords();
  const { language } = useSpeech();
  const priced = r as Priced;
  if (priced.cost_nanousd === undefined) return null;
  const parts = priced.cost_lines ?? [];
  return (
    <Stack gap={6}>
      <Text size="sm" fw={600}>{words.cost} · {priced.cost_nanousd === null ? words.unknownPrice : money(priced.cost_nanousd)}</Text>
      {parts.length > 0 && (
        <Table verticalSpacing={4} fz="sm" maw={560}>
          <Table.Tbody>
            {parts.map((l, i) => (
              <Table.Tr key={i}><Table.Td>{l.what}</Table.Td><Table.Td ta="right" className="num">{count(l.quantity, language)}</Table.Td><Table.Td ta="right" className="num" c="dimmed">{l.unit_nanousd === undefined ? '' : `× ${money(l.unit_nanousd * 1e6)} / M`}</Table.Td><Table.Td ta="right" className="num">{money(l.cost_nanousd)}</Table.Td></Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </Stack>
  );
}
