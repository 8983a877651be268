// The budgets that bind somebody, with how much of each is spent. Shows nothing where there is none.
import { Group, Stack, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { type Budget, lists } from '../api/lists';
import { useWords } from '../i18n';
import { money, said } from './format';

export function Meter({ b }: { b: Budget }) {
  const used = (b.spent_nanousd ?? 0) + (b.held_nanousd ?? 0);
  const limit = b.limit_nanousd ?? 0;
  const share = limit > 0 ? Math.min(1, used / limit) : 1;
  const color = share >= 1 ? 'var(--bad)' : b.is_warning ? 'var(--warn)' : 'var(--fine)';
  return (
    <div className="meter" role="meter" aria-label={b.name} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(share * 100)}>
      <span style={{ width: `${share * 100}%`, background: color }} />
    </div>
  );
}

export function BudgetOf({ kind, id }: { kind: 'org' | 'user' | 'key'; id: string }) {
  const words = useWords();
  const budgets = useQuery(lists.budgets);
  const mine = (budgets.data ?? []).filter((b) => b.scope === kind && b.subject === id && b.enabled);
  if (mine.length === 0) return null;
  return (
    <Stack gap="sm">
      {mine.map((b) => (
        <div key={b.name}>
          <Group justify="space-between" mb={4}><Text size="sm" fw={550}>{b.name}</Text><Text size="sm" c="dimmed" className="num">{money(b.spent_nanousd)} / {money(b.limit_nanousd)} · {said(words, 'period', b.period)}</Text></Group>
          <Meter b={b} />
          {(b.held_nanousd ?? 0) > 0 && <Text size="xs" c="dimmed" mt={2}>{words.held} {money(b.held_nanousd)}</Text>}
        </div>
      ))}
    </Stack>
  );
}
