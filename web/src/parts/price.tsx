// What a request cost, line by line, as the ledger has it.
import { Stack, Table, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { api, take } from '../api/client';
import type { RequestDetail } from '../api/requests';
import { useSpeech, useWords } from '../i18n';
import { count, money, rate } from './format';

export function Price({ r }: { r: RequestDetail }) {
  const words = useWords();
  const { language } = useSpeech();
  const bill = useQuery({
    queryKey: ['bill', r.id], retry: false, enabled: typeof r.cost_nanousd === 'number',
    queryFn: () => take(api.GET('/sluice/v1/ledger/{id}', { params: { path: { id: r.id } } })),
  });
  if (r.input_tokens === null && typeof r.cost_nanousd !== 'number') return null;
  const parts = bill.data?.bill ?? [];
  return (
    <Stack gap={6}>
      <Text size="sm" fw={600}>{words.cost} · {typeof r.cost_nanousd !== 'number' ? words.unknownPrice : money(r.cost_nanousd)}</Text>
      {parts.length > 0 && (
        <Table verticalSpacing={4} fz="sm" maw={560}>
          <Table.Tbody>
            {parts.map((l) => (
              <Table.Tr key={l.part}><Table.Td>{l.part}</Table.Td><Table.Td ta="right" className="num">{count(l.quantity, language)}</Table.Td><Table.Td ta="right" className="num" c="dimmed">{l.rate_nanousd === null || l.rate_nanousd === undefined ? '' : `× ${rate(l.rate_nanousd)} / M`}</Table.Td><Table.Td ta="right" className="num">{money(l.cost_nanousd)}</Table.Td></Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
      {bill.data?.line?.price_version && <Text size="xs" c="dimmed">{words.price} · {words.version} <span className="mono">{bill.data.line.price_version}</span></Text>}
    </Stack>
  );
}
